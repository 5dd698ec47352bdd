//! Invariant "every bit counts": whatever happens to any object of a vault, a restore gives the right result because it
//! did not need the object, or says what is wrong and leaves nothing. Never a wrong result.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use revkeep_restore::execute::{Destination, execute};
use revkeep_restore::overlap::Overlaps;
use revkeep_restore::plan::{History, Target};
use revkeep_restore::prepare::{Request, prepare};
use revkeep_restore::source::{Source, open_cluster};
use revkeep_restore::{Kind, RestoreError};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{
    BaseFacts, ClusterName, CompactionMark, Head, SourceIdentity, Timeline, TimelineId, Vault,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Small chunks, so that a base has several.
const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 300,
    target_bytes: 600,
    max_bytes: 2_000,
};
/// Targets that between them need every base and segment of the timeline.
const TARGETS: [i64; 3] = [20, 30, 36];

fn row(main: i64) -> RowBuf {
    let kv = KeyValue {
        key: format!("key-{}", main % 12).as_bytes(),
        create_revision: 2 + (main - 2) % 12,
        mod_revision: main,
        version: 1 + (main - 2) / 12,
        value: &[main.to_le_bytes()[0]; 90],
        ..KeyValue::default()
    }
    .encode();
    let key = RowKey {
        main: Revision(main),
        sub: 0,
        tombstone: false,
    };
    RowBuf {
        key,
        value: kv.into(),
    }
}

struct Rows(std::vec::IntoIter<RowBuf>, Option<RowBuf>);

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        self.1 = self.0.next();
        Ok(self.1.as_ref().map(RowBuf::as_row))
    }
}

async fn base(timeline: &Timeline, revision: i64, compact: i64) {
    // Of each key the newest row at the compact revision, and everything after.
    let rows = (2..=revision).filter(|main| *main > compact || main + 12 > compact);
    let facts = BaseFacts {
        revision: Revision(revision),
        compact_revision: Revision(compact),
        etcd_version: "3.5.33".to_owned(),
        ..BaseFacts::default()
    };
    let rows = Rows(rows.map(row).collect::<Vec<_>>().into_iter(), None);
    let written = timeline.write_base_with(facts, rows, None, CHUNKS).await;
    assert!(written.unwrap().chunks.len() > 1);
}

async fn segment(timeline: &Timeline, first: i64, last: i64, mark: Option<(i64, i64)>) {
    let mut writer = timeline.segment_writer(0, 1);
    for main in first..=last {
        writer.push_revision(&[row(main).as_row()], main).unwrap();
    }
    if let Some((revision, compact_revision)) = mark {
        writer.compaction(CompactionMark {
            revision: Revision(revision),
            compact_revision: Revision(compact_revision),
        });
    }
    let sealed = writer.finish().unwrap();
    timeline.put_segment(&sealed).await.unwrap();
}

async fn fill(timeline: &Timeline) {
    base(timeline, 10, 0).await;
    base(timeline, 25, 12).await;
    segment(timeline, 11, 20, None).await;
    segment(timeline, 21, 30, Some((25, 12))).await;
    // Another agent's, of which nothing is needed.
    segment(timeline, 16, 24, None).await;
    segment(timeline, 31, 36, None).await;
    let (first, last) = (Revision(37), Revision(39));
    timeline.put_gap(first, last, "lost").await.unwrap();
}

/// A vault with two timelines of the same objects, so that each has a double that is not it.
fn vault(place: &Path) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let vault = Vault::create(&format!("file://{}", place.display())).await;
        let vault = vault.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let first = cluster.create_timeline(SourceIdentity::default(), None);
        let first = first.await.unwrap();
        fill(&first).await;
        let parent = Some((TimelineId::FIRST, Revision(20)));
        let second = cluster.create_timeline(SourceIdentity::default(), parent);
        fill(&second.await.unwrap()).await;
        let head = Head {
            timeline: TimelineId(2),
            base_revision: Revision(25),
            durable_revision: Revision(36),
            heartbeat_unix_ms: 1,
            source_revision: Revision(36),
            compact_revision: Revision(12),
            ..Head::default()
        };
        cluster.put_head(&head).await.unwrap();
    });
}

/// Restores a revision of the first timeline; gives the rows.
fn restore(
    runtime: &Runtime,
    vault: &Path,
    target: Target,
    path: PathBuf,
) -> Result<Vec<RowBuf>, RestoreError> {
    let request = Request {
        target,
        history: History::AsSource,
        overlaps: Overlaps::Small,
    };
    let (source, prepared) = runtime.block_on(async {
        let cluster = open_cluster(&format!("file://{}", vault.display()), "c").await?;
        let source = Source::open(&cluster, Some("0001")).await?;
        let prepared = prepare(&source, request).await?;
        Ok::<_, RestoreError>((source, prepared))
    })?;
    let destination = Destination::SnapshotFile { path: path.clone() };
    let (_sender, cancelled) = watch::channel(false);
    let (runtime, progress) = (runtime.handle(), |_: u64| {});
    execute(
        runtime,
        &source,
        &prepared,
        &destination,
        &cancelled,
        0.0,
        &progress,
    )?;
    let db = DbFile::open(path).unwrap();
    let mut rows = db.rows().unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        all.push(row.to_buf());
    }
    Ok(all)
}

/// All files beneath a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut all: Vec<_> = entries
        .flat_map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                files(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect();
    all.sort();
    all
}

/// The kind of an object, by its place: `bases`, `chunks`, `FORMAT`.
fn kind(object: &Path) -> String {
    let parts: Vec<_> = object.iter().map(|part| part.to_string_lossy()).collect();
    let folder = ["bases", "segments", "gaps", "chunks"]
        .into_iter()
        .find(|folder| parts.iter().any(|part| part == folder));
    folder.map_or_else(|| parts[parts.len() - 1].to_string(), str::to_owned)
}

/// What is done to an object; `None` takes it away.
fn damages(object: &Path, vaults: [&Path; 2]) -> BTreeMap<String, Option<Vec<u8>>> {
    let good = fs::read(object).unwrap();
    let mut all = BTreeMap::new();
    let mut damage = |what: String, bytes: Vec<u8>| {
        if bytes != good {
            all.insert(what, Some(bytes));
        }
    };
    damage("empty".into(), Vec::new());
    damage("zeros".into(), vec![0; good.len()]);
    for len in [1, 15, 16, good.len() / 2, good.len() - 1] {
        damage(
            format!("cut to {len}"),
            good[..len.min(good.len())].to_vec(),
        );
    }
    damage("with a byte more".into(), [&good[..], &[0]].concat());
    damage("twice".into(), [&good[..], &good].concat());
    let places = [0, 8, 10, 11, 12, 17, 20, good.len() / 2, good.len() * 3 / 4];
    for at in places
        .into_iter()
        .chain([66, 33, 8, 1].map(|back| good.len() - back))
    {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        damage(format!("flipped at {at}"), flipped);
    }
    // Everything of its kind that is not it: of the same timeline, of another, of another vault.
    for vault in vaults {
        for other in files(vault) {
            if kind(&other) == kind(object) && other != object {
                let what = format!("replaced by {}", other.display());
                damage(what, fs::read(&other).unwrap());
            }
        }
    }
    all.insert("gone".into(), None);
    all
}

/// What a message must hold of an object so that an operator finds it.
fn name(object: &Path) -> String {
    object.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn no_damage_gives_a_wrong_result() {
    let (ours, theirs, place) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    vault(ours.path());
    vault(theirs.path());
    let runtime = Runtime::new().unwrap();
    let target = place.path().join("snapshot.db");
    let attempt = |revision| {
        let revision = Target::Revision(Revision(revision));
        let result = restore(&runtime, ours.path(), revision, target.clone());
        if result.is_ok() {
            fs::remove_file(&target).unwrap();
        }
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 0, "something stayed beside the target");
        result
    };
    let right = TARGETS.map(|revision| attempt(revision).unwrap());
    let (mut harmless, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for object in files(ours.path()) {
        // The other timeline's objects are never looked at, but for its record.
        if object.iter().any(|part| part == "0002") && kind(&object) != "timeline" {
            continue;
        }
        let good = fs::read(&object).unwrap();
        for (what, bytes) in damages(&object, [ours.path(), theirs.path()]) {
            match bytes {
                Some(bytes) => fs::write(&object, bytes).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            for (revision, right) in TARGETS.into_iter().zip(&right) {
                let case = format!("{}: {what}, to revision {revision}", object.display());
                match attempt(revision) {
                    Ok(rows) => {
                        assert!(rows == *right, "{case}: another result");
                        *harmless.entry(kind(&object)).or_insert(0) += 1;
                    }
                    Err(error) => {
                        let said = error.to_string();
                        let newer = matches!(what.as_str(), "flipped at 8" | "flipped at 11");
                        let expected: &[Kind] = match what.as_str() {
                            // What is gone leaves no trace but a hole; only what others name is missed.
                            "gone" => &[
                                Kind::Verification,
                                Kind::NotFound,
                                Kind::Gap,
                                Kind::OutsideCoverage,
                            ],
                            // It says that it is newer, or sealed in another way.
                            _ if newer => &[Kind::Verification, Kind::Invalid],
                            _ => &[Kind::Verification],
                        };
                        assert!(
                            expected.contains(&error.kind()),
                            "{case}: {:?}: {said}",
                            error.kind()
                        );
                        let hole = matches!(error.kind(), Kind::Gap | Kind::OutsideCoverage);
                        // The vault's own record has no double: with another's, everything else is foreign.
                        let foreign = kind(&object) == "FORMAT" && what.starts_with("replaced");
                        assert!(
                            hole || foreign || said.contains(&name(&object)),
                            "{case}: {said}"
                        );
                        let detailed = said.contains("at offset") && said.contains("expected");
                        assert!(
                            detailed || hole || newer || what == "gone",
                            "{case}: {said}"
                        );
                        *refused.entry(kind(&object)).or_insert(0) += 1;
                    }
                }
            }
            fs::write(&object, &good).unwrap();
        }
    }
    // The test would be blind if nothing were needed, or everything.
    for kind in ["FORMAT", "timeline", "chunks", "segments"] {
        assert!(
            refused.get(kind).is_some_and(|count| *count > 10),
            "{kind}: {refused:?}"
        );
    }
    for kind in ["head", "gaps", "bases", "chunks", "segments", "timeline"] {
        assert!(
            harmless.get(kind).is_some_and(|count| *count > 10),
            "{kind}: {harmless:?}"
        );
    }
}

/// Makes an object of the first timeline unreadable, by the beginning of its name; gives how many there were.
fn damage(vault: &Path, folder: &str, first: i64) -> usize {
    let folder = vault.join("clusters/c/0001").join(folder);
    let objects = files(&folder).into_iter();
    let objects = objects.filter(|object| name(object).starts_with(&format!("{first:020}-")));
    objects
        .map(|object| fs::write(object, b"damaged").unwrap())
        .count()
}

#[test]
fn damage_does_not_make_an_older_revision_the_newest() {
    let runtime = Runtime::new().unwrap();
    // The end of the newest segment; and a base that alone led there, with those before it that could stand in.
    for damaged in [
        &[("segments", 31)][..],
        &[("bases", 25), ("segments", 11), ("segments", 16)],
    ] {
        let (vault_place, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        vault(vault_place.path());
        let target = place.path().join("snapshot.db");
        let latest = || restore(&runtime, vault_place.path(), Target::Latest, target.clone());
        assert_eq!(latest().unwrap().last().unwrap().key.main, Revision(36));
        fs::remove_file(&target).unwrap();
        for (folder, first) in damaged {
            assert_eq!(damage(vault_place.path(), folder, *first), 1);
        }
        let error = latest().map(|rows| rows.len()).unwrap_err();
        assert_eq!(error.kind(), Kind::Verification, "{error}");
        assert!(error.to_string().contains("36"), "{error}");
        assert!(error.nearest().unwrap().below.is_some(), "{error}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
