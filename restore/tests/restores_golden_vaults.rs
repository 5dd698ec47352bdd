//! Invariant "formats are for ever": vaults that earlier versions wrote are restored to what they held then.
//!
//! `schemas/golden/revkeep/vaults/` has a folder for each version of the formats, written by `examples/golden_vault.rs` of
//! its time and never changed: bases of several chunks, segments with key filters and of two levels, a gap, a pin, a mark of
//! retention, a head, two timelines. `expected.json` says what comes of it. `REVKEEP_GOLDEN=write` notes that for a vault that was
//! just written, where there is no such file.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

#[expect(dead_code, reason = "its main function is the example's")]
#[path = "../examples/golden_vault.rs"]
mod golden_vault;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use revkeep_restore::execute::{Destination, execute};
use revkeep_restore::overlap::Overlaps;
use revkeep_restore::past::{Selection, View};
use revkeep_restore::plan::{History, Target};
use revkeep_restore::prepare::{Request, prepare};
use revkeep_restore::source::{Source, open_cluster};
use revkeep_restore::{Kind, RestoreError};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::{Revision, RowSource};
use revkeep_vault::PinName;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What comes of one revision.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    timeline: String,
    revision: i64,
    /// Why there is none; then all else is empty.
    refused: Option<String>,
    compact_revision: i64,
    rows: u64,
    digest: String,
    hash_kv: u32,
    /// The comparisons with the source's own hashes.
    proofs: usize,
    /// The bytes of lease rows in hexadecimal, by key.
    leases: BTreeMap<String, String>,
    /// The keys that `get` finds under a prefix.
    keys: usize,
}

const PLACES: [(&str, &[i64]); 2] = [
    (
        "0001",
        &[2, 20, 40, 55, 77, 90, 110, 120, 125, 135, 140, 150, 151],
    ),
    ("0002", &[60, 105, 125, 139, 145]),
];

fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden/revkeep/vaults");
    let folders = std::fs::read_dir(all).unwrap();
    folders.map(|entry| entry.unwrap().path()).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(u32::from);
    let digits = bytes.iter().flat_map(digits);
    digits
        .filter_map(|digit| char::from_digit(digit, 16))
        .collect()
}

async fn source(vault: &Path, timeline: &str) -> Result<Source, RestoreError> {
    let url = format!("file://{}", vault.canonicalize().unwrap().display());
    Source::open(&open_cluster(&url, "golden").await?, Some(timeline)).await
}

fn outcome(runtime: &Runtime, vault: &Path, timeline: &str, revision: i64) -> Outcome {
    let mut outcome = Outcome {
        timeline: timeline.to_owned(),
        revision,
        refused: None,
        compact_revision: 0,
        rows: 0,
        digest: String::new(),
        hash_kv: 0,
        proofs: 0,
        leases: BTreeMap::new(),
        keys: 0,
    };
    if let Err(error) = fill(runtime, vault, &mut outcome) {
        assert!(
            matches!(error.kind(), Kind::Gap | Kind::OutsideCoverage),
            "{timeline} {revision}: {error}"
        );
        outcome.refused = Some(format!("{:?}", error.kind()));
    }
    outcome
}

fn fill(runtime: &Runtime, vault: &Path, outcome: &mut Outcome) -> Result<(), RestoreError> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("snapshot.db");
    let target = Target::Revision(Revision(outcome.revision));
    let request = Request {
        target,
        history: History::AsSource,
        overlaps: Overlaps::All,
    };
    let (source, prepared, keys) = runtime.block_on(async {
        let source = source(vault, &outcome.timeline).await?;
        let prepared = prepare(&source, request).await?;
        let under = Selection::Prefix(b"/registry/pods/ns-1/".to_vec());
        let keys = View::at(&source, target)?.get(&under, false).await?;
        Ok::<_, RestoreError>((source, prepared, keys.len()))
    })?;
    // Everything was read, and nothing of it was found damaged or left uncompared.
    assert!(
        source.inventory.damaged.is_empty(),
        "{:?}",
        source.inventory.damaged
    );
    assert_eq!(prepared.report.overlaps.not_compared, 0);
    let (_sender, cancelled) = watch::channel(false);
    let destination = Destination::SnapshotFile { path: path.clone() };
    let report = execute(
        runtime.handle(),
        &source,
        &prepared,
        &destination,
        &cancelled,
        0.0,
        &|_| {},
    )?;
    let db = DbFile::open(path).unwrap();
    let (mut rows, mut digest) = (db.rows().unwrap(), RowDigest::default());
    while let Some(row) = rows.next_row().unwrap() {
        digest.add(&row);
    }
    let mut leases = db.bucket(b"lease").unwrap().unwrap().cursor();
    while let Some((key, value)) = leases.next_entry().unwrap() {
        outcome.leases.insert(hex(key), hex(value));
    }
    outcome.compact_revision = report.hashkv.compact_revision.0;
    outcome.rows = report.restored_rows;
    outcome.digest = digest.to_string();
    outcome.hash_kv = report.hashkv.hash;
    outcome.proofs = report.compared_with.len();
    outcome.keys = keys;
    Ok(())
}

fn outcomes(runtime: &Runtime, vault: &Path) -> Vec<Outcome> {
    let places = PLACES.iter();
    let all = places.flat_map(|(timeline, revisions)| {
        let each = revisions.iter();
        each.map(|revision| outcome(runtime, vault, timeline, *revision))
    });
    all.collect()
}

#[test]
fn vaults_of_earlier_versions_are_restored() {
    let runtime = Runtime::new().unwrap();
    let folders = folders();
    assert!(!folders.is_empty());
    for folder in folders {
        let (vault, expected) = (folder.join("vault"), folder.join("expected.json"));
        let got = outcomes(&runtime, &vault);
        if !expected.exists() && std::env::var("REVKEEP_GOLDEN").as_deref() == Ok("write") {
            let text = serde_json::to_string_pretty(&got).unwrap();
            std::fs::write(&expected, text + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&expected).unwrap();
        let expected: Vec<Outcome> = serde_json::from_str(&text).unwrap();
        assert_eq!(got, expected, "{}", folder.display());
        // It would prove nothing if it could not be otherwise.
        assert!(expected.iter().filter(|outcome| outcome.proofs > 0).count() > 8);
        assert!(expected.iter().any(|outcome| outcome.refused.is_some()));
        assert!(expected.iter().any(|outcome| outcome.leases.len() == 2));
        runtime.block_on(async {
            let source = source(&vault, "0001").await.unwrap();
            let cluster = source.timeline.cluster();
            let pin = cluster.pin(&PinName::new("before-upgrade").unwrap()).await;
            assert_eq!(pin.unwrap().unwrap().revision, Revision(77));
            let gap = &source.inventory.gaps.first().unwrap().record;
            assert_eq!((gap.first, gap.last), (Revision(121), Revision(130)));
            assert_eq!(
                cluster.head().await.unwrap().unwrap().source_revision,
                Revision(147)
            );
            let second = cluster.newest_timeline().await.unwrap().unwrap();
            let parent = source.timeline.id();
            assert_eq!(second.record().parent, Some((parent, Revision(110))));
        });
        let mark = vault.join("clusters/golden");
        assert!(count(&mark, "mark") > 0, "no mark of retention");
    }
}

/// Files of a name.
fn count(folder: &Path, name: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            if path.is_dir() {
                return count(&path, name);
            }
            usize::from(path.file_name().unwrap().to_string_lossy() == name)
        })
        .sum()
}

/// The writer still writes, and what it writes comes to the same, so that the next version can add its own.
#[test]
fn this_version_writes_such_a_vault_too() {
    let runtime = Runtime::new().unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new");
    runtime.block_on(golden_vault::write(&folder)).unwrap();
    let first = folders()
        .into_iter()
        .find(|folder| folder.ends_with("1"))
        .unwrap();
    let expected = std::fs::read_to_string(first.join("expected.json")).unwrap();
    let expected: Vec<Outcome> = serde_json::from_str(&expected).unwrap();
    assert_eq!(outcomes(&runtime, &folder.join("vault")), expected);
    assert!(runtime.block_on(golden_vault::write(&folder)).is_err());
}
