//! The promise: a revision is never given out twice, and leases end as was asked; judged by etcd itself and by its own tool.
//!
//! `--bump-revision` and `--mark-compacted` must come to the cluster that `etcdutl snapshot restore` makes of the same rows
//! with the same flags, in every release.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, PutOptions, WatchOptions};
use revkeep_harness::product::{Answer, CLUSTER, VaultPlace, run};
use revkeep_harness::truth::{Truth, keys_at, revision};
use revkeep_harness::workload::Workload;
use revkeep_harness::{
    Etcd, EtcdOptions, EtcdTool, EtcdVersion, base_etcd, etcd_series, etcd_versions, store,
};
use tempfile::TempDir;

const BUMP: i64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    folder: TempDir,
    vault: VaultPlace,
    truth: Truth,
    source: Etcd,
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

async fn base(folder: &Path, source: &Etcd, vault: &VaultPlace) -> Result<()> {
    let state = folder.join("state");
    let endpoint = source.endpoint();
    let arguments = ["snapshot", "--endpoints", &endpoint, "--cluster", CLUSTER];
    let arguments = [&arguments[..], &["--state-dir", text(&state)]].concat();
    let answer = run("revkeep-agent", vault, &arguments).await?;
    ensure!(answer.code == 0, "snapshot: {answer:?}");
    Ok(())
}

impl World {
    /// A source with a history, and one base of it.
    async fn new(version: &EtcdVersion, steps: usize) -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-finish-")?;
        let vault = VaultPlace::folder(&folder.path().join("vault"));
        let source = Etcd::start(version).await?;
        let mut client = source.client().await?;
        let mut workload = Workload::new(7);
        for _ in 0..steps {
            workload.step(&mut client).await?;
        }
        client.put("end", "of the past", None).await?;
        let world = Self {
            truth: Truth::now(&mut client).await?,
            folder,
            vault,
            source,
        };
        base(world.folder.path(), &world.source, &world.vault).await?;
        Ok(world)
    }

    async fn restore(&self, flags: &[&str]) -> Result<Answer> {
        let revision = self.truth.revision.to_string();
        let arguments = ["restore", CLUSTER, "-w", "json", "--to-revision", &revision];
        run("revkeep", &self.vault, &[&arguments[..], flags].concat()).await
    }

    async fn boot(
        &self,
        target: &EtcdVersion,
        flags: &[&str],
    ) -> Result<(Etcd, serde_json::Value)> {
        let folder = TempDir::with_prefix("revkeep-finished-")?;
        let data_dir = folder.path().join("data");
        let place = [target.restore_flag(), text(&data_dir)];
        let report = self.restore(&[&place, flags].concat()).await?.json()?;
        let mut etcd = Etcd::start_with(target, EtcdOptions::booting(&data_dir)).await?;
        etcd.keep(folder);
        Ok((etcd, report))
    }
}

/// What a client sees of a bumped cluster: it is asked for everything that tells one from another.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    revision: i64,
    keys: Vec<revkeep_harness::truth::KeyState>,
    /// How a watch from an old revision ends.
    compact_revision: i64,
    old_read: String,
    hash: u32,
    next_revision: i64,
}

async fn see(client: &mut Client, old: i64) -> Result<Seen> {
    let now = revision(client).await?;
    let options = WatchOptions::new().with_start_revision(old).with_prefix();
    let mut watch = client.watch("", Some(options)).await?;
    let compact_revision = loop {
        let message = tokio::time::timeout(PATIENCE, watch.message()).await??;
        let message = message.context("the watch ended without a word")?;
        if message.canceled() {
            break message.compact_revision();
        }
        ensure!(message.events().is_empty(), "an old watch was given events");
    };
    let old_read = keys_at(client, old).await;
    let old_read = format!("{:#}", old_read.err().context("an old read was answered")?);
    // The compaction that was scheduled runs in the background.
    let deadline = Instant::now() + PATIENCE;
    let hash = loop {
        let hash = client.hash_kv(0).await?;
        let again = client.hash_kv(0).await?;
        if hash.hash() == again.hash() || Instant::now() > deadline {
            break hash.hash();
        }
    };
    let keys = keys_at(client, 0).await?;
    let put = client.put("after", "the bump", None).await?;
    let next_revision = put.header().context("no header")?.revision();
    Ok(Seen {
        revision: now,
        keys,
        compact_revision,
        old_read,
        hash,
        next_revision,
    })
}

/// What etcd's own tool makes of the source's own snapshot; `None` where the release does not know how.
async fn by_etcd(world: &World, tool: &EtcdVersion) -> Result<Option<Etcd>> {
    let knows = match tool.series() {
        (3, 4) => tool.numbers().2 >= 27,
        (3, 5) => tool.numbers().2 >= 10,
        _ => true,
    };
    if !knows {
        return Ok(None);
    }
    let folder = TempDir::with_prefix("revkeep-by-etcd-")?;
    let file = folder.path().join("snapshot.db");
    world.source.tool().snapshot_save(&file).await?;
    let data_dir = folder.path().join("data");
    let bump = BUMP.to_string();
    let flags = ["--bump-revision", &bump, "--mark-compacted"];
    let tool_of = EtcdTool::new(tool);
    tool_of.snapshot_restore(&file, &data_dir, &flags).await?;
    let mut etcd = Etcd::start_with(tool, EtcdOptions::booting(&data_dir)).await?;
    etcd.keep(folder);
    Ok(Some(etcd))
}

async fn check_bump(world: &World, target: &EtcdVersion) -> Result<()> {
    let bump = BUMP.to_string();
    let flags = ["--bump-revision", &bump, "--mark-compacted"];
    let (etcd, report) = world.boot(target, &flags).await?;
    let proved = report.pointer("/compared_with/0/revision");
    ensure!(
        proved == Some(&world.truth.revision.into()),
        "not proved: {report}"
    );
    ensure!(
        report.pointer("/hashkv/hash") == Some(&world.truth.hash.into()),
        "HashKV is that of the rows before the bump: {report}"
    );
    let ours = see(&mut etcd.client().await?, world.truth.revision).await?;
    let bumped = world.truth.revision + BUMP;
    ensure!(
        (ours.revision, ours.compact_revision, ours.next_revision) == (bumped, bumped, bumped + 1),
        "{ours:?}"
    );
    ensure!(ours.keys == world.truth.keys, "the keys differ");
    // The store follows the newest 3.5.
    let tool = if target.is_store() {
        etcd_series(3, 5)
    } else {
        Some(target.clone())
    };
    let Some(tool) = tool else {
        return Ok(());
    };
    let Some(theirs) = by_etcd(world, &tool).await? else {
        return Ok(());
    };
    let theirs = see(&mut theirs.client().await?, world.truth.revision).await?;
    ensure!(ours == theirs, "ours {ours:?}\ntheirs {theirs:?}");
    eprintln!("etcd {target}: as etcd's own tool");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bumped_cluster_is_the_one_that_etcds_tool_makes() -> Result<()> {
    let Some(source) = base_etcd() else {
        return Ok(());
    };
    let world = World::new(&source, 60).await?;
    for target in etcd_versions().into_iter().chain(store()?) {
        let what = format!("restored for {target}");
        check_bump(&world, &target).await.context(what)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_goes_beyond_what_any_agent_saw_and_the_agent_follows() -> Result<()> {
    let Some(source) = base_etcd() else {
        return Ok(());
    };
    let world = World::new(&source, 40).await?;
    // What was written later, which clients have seen too.
    let mut client = world.source.client().await?;
    for n in 0..20 {
        client.put(format!("later/{n}"), "x", None).await?;
    }
    let newest = revision(&mut client).await?;
    base(world.folder.path(), &world.source, &world.vault).await?;

    let auto = ["--bump-revision", "auto", "--mark-compacted"];
    let place = world.folder.path().join("a");
    let alone = [&["--data-dir", text(&place)][..], &auto[..2]].concat();
    let alone = world.restore(&alone).await?;
    ensure!(
        alone.code == 3 && alone.stderr.contains("--mark-compacted"),
        "{alone:?}"
    );
    let three = "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3";
    let one_of_three = [
        &[
            "--data-dir",
            text(&place),
            "--name",
            "a",
            "--initial-cluster",
            three,
        ][..],
        &["--initial-advertise-peer-urls", "http://127.0.0.1:1"],
        &auto,
    ];
    let refused = world.restore(&one_of_three.concat()).await?;
    ensure!(refused.code == 3 && !place.exists(), "{refused:?}");

    let (mut etcd, report) = world.boot(&source, &auto).await?;
    let said = |path| report.pointer(path).and_then(serde_json::Value::as_i64);
    let bumped = said("/bump/revision").context("no bump")?;
    ensure!(
        said("/bump/computed_from/0/revision") == Some(newest) && bumped > newest + 1_000_000,
        "{report}"
    );
    let text_of_it = report.to_string();
    ensure!(
        text_of_it.contains("before the revision is bumped"),
        "{report}"
    );
    let mut client = etcd.client().await?;
    ensure!(revision(&mut client).await? == bumped, "another revision");
    for n in 0..5 {
        client.put(format!("new life/{n}"), "x", None).await?;
    }
    etcd.restart().await?;

    // The bumped cluster is a timeline of its own, which can be brought back as any other.
    base(world.folder.path(), &etcd, &world.vault).await?;
    let truth = Truth::now(&mut etcd.client().await?).await?;
    let again = World { truth, ..world };
    let (etcd, report) = again.boot(&source, &[]).await?;
    ensure!(
        report.get("timeline") == Some(&"0002".into()),
        "no timeline of its own: {report}"
    );
    let mut client = etcd.client().await?;
    let hash = client.hash_kv(again.truth.revision).await?.hash();
    ensure!(
        hash == again.truth.hash && keys_at(&mut client, 0).await? == again.truth.keys,
        "the bumped cluster was not brought back"
    );
    Ok(())
}

/// A source with a key of a lease and one without.
async fn leased(version: &EtcdVersion) -> Result<World> {
    let mut world = World::new(version, 0).await?;
    let mut client = world.source.client().await?;
    let lease = client.lease_grant(600, None).await?.id();
    let options = PutOptions::new().with_lease(lease);
    client.put("leased", "1", Some(options.clone())).await?;
    client.put("leased", "2", Some(options)).await?;
    client.put("free", "1", None).await?;
    world.truth = Truth::now(&mut client).await?;
    base(world.folder.path(), &world.source, &world.vault).await?;
    Ok(world)
}

async fn check_expire(world: &World, target: &EtcdVersion) -> Result<()> {
    let (etcd, report) = world.boot(target, &["--leases", "expire"]).await?;
    let mut client = etcd.client().await?;
    let at = world.truth.revision;
    let ignores = target.series() == (3, 5) && target.numbers().2 <= 1;
    let deadline = Instant::now() + PATIENCE;
    while revision(&mut client).await? == at && !ignores {
        ensure!(Instant::now() < deadline, "nothing has expired");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let keys = keys_at(&mut client, 0).await?;
    let names: Vec<_> = keys.iter().map(|key| key.key.as_slice()).collect();
    let expected: &[&[u8]] = if ignores {
        &[b"end", b"free", b"leased"]
    } else {
        ensure!(
            revision(&mut client).await? == at + 1,
            "it took more than the revision of the deletion"
        );
        &[b"end", b"free"]
    };
    ensure!(names == expected, "{names:?}");
    // Until it ends nothing differs from the source.
    let hash = client.hash_kv(at).await?.hash();
    ensure!(
        hash == world.truth.hash && keys_at(&mut client, at).await? == world.truth.keys,
        "the past differs"
    );
    ensure!(report.to_string().contains("3.5.1"), "{report}");
    Ok(())
}

async fn check_detach(world: &World, target: &EtcdVersion) -> Result<()> {
    let (etcd, report) = world.boot(target, &["--leases", "detach"]).await?;
    ensure!(
        report.get("detached_rows") == Some(&2.into())
            && report.pointer("/compared_with/0/source") == Some(&world.truth.hash.into()),
        "not proved before: {report}"
    );
    let mut client = etcd.client().await?;
    let mut expected = world.truth.keys.clone();
    for key in &mut expected {
        key.lease = 0;
    }
    ensure!(
        keys_at(&mut client, 0).await? == expected && expected != world.truth.keys,
        "the keys differ in more than their leases"
    );
    ensure!(
        client.leases().await?.leases().is_empty(),
        "a lease is left"
    );
    let hash = client.hash_kv(world.truth.revision).await?.hash();
    ensure!(
        hash != world.truth.hash && report.pointer("/hashkv/hash") == Some(&hash.into()),
        "HashKV {hash}: {report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_end_as_asked() -> Result<()> {
    let Some(source) = base_etcd() else {
        return Ok(());
    };
    let world = leased(&source).await?;
    for target in etcd_versions().into_iter().chain(store()?) {
        let what = |how| format!("--leases {how} for {target}");
        check_expire(&world, &target)
            .await
            .with_context(|| what("expire"))?;
        check_detach(&world, &target)
            .await
            .with_context(|| what("detach"))?;
    }
    Ok(())
}
