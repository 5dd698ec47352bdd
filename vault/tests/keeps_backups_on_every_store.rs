//! The promise: a vault is the same wherever it lies. Real servers of S3 (SeaweedFS), Azure (Azurite) and Google
//! (fake-gcs-server), and a folder; what each honours is in the table that this prints, and that it leaves in
//! `target/object-stores.md`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::pedantic,
    clippy::large_futures,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion,
};
use revkeep_harness::product::{VaultPlace, run};
use revkeep_harness::{Azurite, FakeGcs, SeaweedFs, workspace_root};
use revkeep_schemas::Revision;
use revkeep_vault::{
    BaseFacts, Coverage, Head, Piece, ReadOptions, SourceIdentity, TimelineId, Vault,
};
use world::{Rows, SMALL, read_all, rows, segment};

/// Writers that race for one name.
const RACERS: usize = 16;

/// What one store does.
#[derive(Debug, Default)]
struct Column {
    name: &'static str,
    answers: Vec<(&'static str, String)>,
}

fn yes(honoured: bool) -> String {
    if honoured { "yes" } else { "NO" }.to_owned()
}

impl Column {
    fn says(&mut self, question: &'static str, answer: String) {
        self.answers.push((question, answer));
    }

    /// Asks the store itself, beneath a prefix of its own.
    async fn of(name: &'static str, store: &dyn ObjectStore) -> Result<Self> {
        let mut column = Self {
            name,
            ..Self::default()
        };
        let at = |name: &str| Path::from(format!("honours/{name}"));
        let here = at("here");
        store.put(&here, "the first content".into()).await?;
        let read = store.get(&here).await?.bytes().await?;
        column.says("read after put", yes(read == "the first content"));
        let listed: Vec<_> = store.list(Some(&at(""))).try_collect().await?;
        column.says(
            "list after put",
            yes(listed.iter().any(|meta| meta.location == here)),
        );
        store.put(&here, "another content".into()).await?;
        let read = store.get(&here).await?.bytes().await?;
        column.says("read after overwrite", yes(read == "another content"));
        column.says("range of bytes", yes(ranges(store, &here).await?));
        column.says("create if absent", creates(store, &at("created")).await?);
        column.says("one winner of 16", races(store, &at("raced")).await?);
        column.says("update if unchanged", updates(store, &here).await?);
        store.delete(&here).await?;
        let gone = matches!(store.get(&here).await, Err(Error::NotFound { .. }));
        column.says("gone after delete", yes(gone));
        let again = store.delete(&here).await;
        let word = if again.is_ok() {
            "no error"
        } else {
            "not found"
        };
        column.says("delete of what is gone", word.to_owned());
        Ok(column)
    }
}

async fn ranges(store: &dyn ObjectStore, name: &Path) -> Result<bool> {
    let part = store.get_range(name, 2..5).await?;
    let options = GetOptions {
        range: Some(GetRange::Offset(8)),
        ..GetOptions::default()
    };
    let rest = store.get_opts(name, options).await?.bytes().await?;
    Ok(part == "oth" && rest == "content")
}

async fn creates(store: &dyn ObjectStore, name: &Path) -> Result<String> {
    match store
        .put_opts(name, "first".into(), PutMode::Create.into())
        .await
    {
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
            return Ok("not offered".to_owned());
        }
        other => drop(other?),
    }
    let second = store
        .put_opts(name, "second".into(), PutMode::Create.into())
        .await;
    let refused = matches!(second, Err(Error::AlreadyExists { .. }));
    let kept = store.get(name).await?.bytes().await? == "first";
    Ok(yes(refused && kept))
}

async fn races(store: &dyn ObjectStore, name: &Path) -> Result<String> {
    let put = |one: usize| async move {
        let content = format!("racer {one}");
        store
            .put_opts(name, content.into(), PutMode::Create.into())
            .await
    };
    let all = futures::future::join_all((0..RACERS).map(put)).await;
    let winners = all.iter().filter(|put| put.is_ok()).count();
    Ok(if winners == 1 {
        yes(true)
    } else {
        format!("NO: {winners} winners")
    })
}

async fn updates(store: &dyn ObjectStore, name: &Path) -> Result<String> {
    let put = store.put(name, "one".into()).await?;
    let version = UpdateVersion::from(put);
    let mode = PutMode::Update(version.clone());
    match store.put_opts(name, "two".into(), mode.into()).await {
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
            return Ok("not offered".to_owned());
        }
        other => drop(other?),
    }
    let stale = store
        .put_opts(name, "three".into(), PutMode::Update(version).into())
        .await;
    let refused = matches!(stale, Err(Error::Precondition { .. }));
    let kept = store.get(name).await?.bytes().await? == "two";
    Ok(yes(refused && kept))
}

/// A base, segments that overlap, a gap and a head; agents that race; all of it read back.
async fn keeps_a_backup(store: Arc<dyn ObjectStore>) -> Result<()> {
    let prefix = || Path::from("backups/here");
    let vaults = (0..4).map(|_| Vault::create_with_store(store.clone(), prefix()));
    let vaults = futures::future::try_join_all(vaults).await?;
    ensure!(vaults.iter().all(|vault| vault.id() == vaults[0].id()));
    let clusters: Vec<_> = vaults
        .iter()
        .map(|vault| vault.cluster(&"prod".parse().unwrap()))
        .collect();
    let opening = clusters
        .iter()
        .map(|cluster| cluster.create_timeline(SourceIdentity::default(), None));
    let timelines = futures::future::try_join_all(opening).await?;
    ensure!(
        timelines
            .iter()
            .all(|one| one.id() == TimelineId(1) && one.record() == timelines[0].record())
    );
    let timeline = &timelines[0];

    let all = rows(2..400, 300);
    let (old, new) = all.split_at(all.partition_point(|row| row.key.main.0 <= 250));
    let facts = BaseFacts {
        revision: Revision(250),
        ..BaseFacts::default()
    };
    let base = timeline
        .write_base_with(facts.clone(), Rows::of(old), None, SMALL)
        .await?;
    let again = timeline
        .write_base_with(facts, Rows::of(old), None, SMALL)
        .await?;
    ensure!(
        again.chunks == base.chunks,
        "the same rows gave other chunks"
    );
    for (first, last) in [(251, 300), (290, 350), (351, 399)] {
        let sealed = segment(timeline, new, first, last);
        ensure!(!timeline.put_segment(&sealed).await?.existed);
        ensure!(
            timeline.put_segment(&sealed).await?.existed,
            "the second put did not find the first"
        );
    }
    timeline
        .put_gap(Revision(410), Revision(420), "test")
        .await?;
    let head = Head {
        timeline: timeline.id(),
        base_revision: Revision(250),
        durable_revision: Revision(399),
        heartbeat_unix_ms: 1,
        source_revision: Revision(399),
        compact_revision: Revision(1),
        uploader: 0,
        turn: 0,
        followed_unix_ms: 0,
    };
    for _ in 0..2 {
        clusters[1].put_head(&head).await?;
    }

    ensure!(clusters[2].head().await? == Some(head));
    ensure!(timeline.cursor().await? == Some(Revision(399)));
    let inventory = timeline.inventory().await?;
    ensure!(
        inventory.damaged.is_empty() && inventory.gaps.len() == 1 && inventory.segments.len() == 3
    );
    ensure!(Coverage::compute(&inventory).ranges == [(Revision(1), Revision(399))]);
    let mut pieces: Vec<_> = base.chunks.iter().copied().map(Piece::Chunk).collect();
    for (entry, (from, to)) in inventory
        .segments
        .iter()
        .zip([(251, 300), (301, 350), (351, 399)])
    {
        ensure!(&timeline.segment_index(entry).await? == timeline.segment(entry).await?.index());
        pieces.push(Piece::Segment {
            entry: entry.clone(),
            from: Revision(from),
            to: Revision(to),
        });
    }
    let read = read_all(timeline.read_rows(pieces, ReadOptions::default())).await?;
    ensure!(read == all, "other rows came back");
    Ok(())
}

/// The same by its address and the environment, as an operator names it.
async fn is_reached_by_its_address(place: &VaultPlace) -> Result<()> {
    let answer = run("revkeep-vault", place, &["probe", "--json"])
        .await?
        .json()?;
    let findings = answer.as_object().cloned().unwrap_or_default();
    ensure!(
        findings.len() >= 5 && findings.values().all(|found| found != false),
        "{}: {answer}",
        place.url
    );
    // Nothing to be found anywhere: neither in this machine's own environment, nor a role.
    let nowhere = [
        ("HOME", "/nonexistent"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AZURE_STORAGE_ACCOUNT_KEY", ""),
        ("AZURE_MSI_ENDPOINT", "http://127.0.0.1:1"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", ""),
        ("GOOGLE_APPLICATION_CREDENTIALS", ""),
        ("GCE_METADATA_HOST", "127.0.0.1:1"),
    ];
    let stranger = VaultPlace {
        environment: nowhere.to_vec(),
        ..place.clone()
    };
    if !place.environment.is_empty() {
        let refused = run("revkeep-vault", &stranger, &["probe"]).await?;
        ensure!(refused.code == 3, "without credentials: {refused:?}");
    }
    Ok(())
}

fn table(columns: &[Column]) -> String {
    let mut text = String::from("| |");
    for column in columns {
        let _ = write!(text, " {} |", column.name);
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    for (row, (question, _)) in columns[0].answers.iter().enumerate() {
        let _ = write!(text, "\n| {question} |");
        for column in columns {
            let _ = write!(text, " {} |", column.answers[row].1);
        }
    }
    text.push('\n');
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_is_the_same_on_every_store() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (own, vault) = (folder.path().join("store"), folder.path().join("vault"));
    std::fs::create_dir(&own)?;
    let local = LocalFileSystem::new_with_prefix(own)?.with_fsync(true);
    let mut stores: Vec<(&'static str, Arc<dyn ObjectStore>, VaultPlace)> =
        vec![("folder", Arc::new(local), VaultPlace::folder(&vault))];
    let (s3, azure, gcs) = (
        SeaweedFs::start().await?,
        Azurite::start().await?,
        FakeGcs::start().await?,
    );
    if let Some(s3) = &s3 {
        stores.push((
            "S3 (SeaweedFS)",
            Arc::new(s3.object_store()?),
            VaultPlace::bucket(s3, "by-address"),
        ));
    }
    if let Some(azure) = &azure {
        stores.push((
            "Azure (Azurite)",
            Arc::new(azure.object_store()?),
            azure.vault("by-address"),
        ));
    }
    if let Some(gcs) = &gcs {
        stores.push((
            "GCS (fake-gcs-server)",
            Arc::new(gcs.object_store()?),
            gcs.vault("by-address"),
        ));
    }
    let mut columns = Vec::new();
    for (name, store, place) in stores {
        let mut column = Column::of(name, &*store)
            .await
            .map_err(|error| error.context(name))?;
        keeps_a_backup(store)
            .await
            .map_err(|error| error.context(name))?;
        is_reached_by_its_address(&place)
            .await
            .map_err(|error| error.context(name))?;
        column.says("backups come back", yes(true));
        let needed = [
            "read after put",
            "list after put",
            "range of bytes",
            "create if absent",
            "one winner of 16",
        ];
        for (question, answer) in &column.answers {
            ensure!(
                !needed.contains(question) || answer == "yes",
                "{name}: {question}: {answer}"
            );
        }
        columns.push(column);
    }
    let table = table(&columns);
    eprintln!("{table}");
    std::fs::create_dir_all(workspace_root().join("target"))?;
    std::fs::write(workspace_root().join("target/object-stores.md"), table)?;
    Ok(())
}
