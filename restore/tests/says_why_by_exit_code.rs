//! Whatever cannot be done has its exit code, names the way out, and leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use revkeep_schemas::boltdb::{Trailer, check_trailer};
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Vault};

/// One row for each revision.
struct Rows {
    next: i64,
    last: i64,
    value: Vec<u8>,
}

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        if self.next > self.last {
            return Ok(None);
        }
        let main = Revision(self.next);
        self.next += 1;
        let key = main.0.to_be_bytes();
        self.value = KeyValue {
            key: &key,
            create_revision: main.0,
            mod_revision: main.0,
            version: 1,
            ..KeyValue::default()
        }
        .encode();
        let key = RowKey {
            main,
            sub: 0,
            tombstone: false,
        };
        Ok(Some(Row {
            key,
            value: &self.value,
        }))
    }
}

/// A vault with bases at revisions 10 (never compacted) and 30 (compacted at 20).
fn vault(url: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let vault = Vault::create(url).await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        for (revision, compact) in [(10, 0), (30, 20)] {
            let facts = BaseFacts {
                revision: Revision(revision),
                compact_revision: Revision(compact),
                etcd_version: "3.5.33".to_owned(),
                finished_unix_ms: 1_700_000_000_000 + revision * 1_000,
                ..BaseFacts::default()
            };
            let rows = Rows {
                next: 2,
                last: revision,
                value: Vec::new(),
            };
            timeline.write_base(facts, rows, None).await.unwrap();
        }
    });
}

fn revkeep(place: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_revkeep"))
        .args(arguments.split(' '))
        .env("REVKEEP_VAULT", format!("file://{}/vault", place.display()))
        .env("REVKEEP_CACHE_DIR", "")
        .current_dir(place)
        .output()
        .unwrap()
}

#[test]
fn every_refusal_has_its_code() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    vault(&format!("file://{}/vault", place.display()));
    fs::create_dir(place.join("full")).unwrap();
    fs::write(place.join("full/mine"), b"mine").unwrap();
    for (arguments, code, says) in [
        ("restore c --to-revision 31 --data-dir d", 11, "30"),
        ("restore c --to-revision 15 --data-dir d", 15, "10 and 20"),
        ("restore x --latest --data-dir d", 10, "it has c"),
        (
            "info c --vault file:///nonexistent/vault",
            10,
            "no such folder",
        ),
        ("restore c --latest --data-dir full", 16, "full"),
        ("restore c --latest", 3, "--data-dir"),
        ("restore c --data-dir d", 3, "--to-revision <N>|--to-time"),
        ("restore c --pin none --data-dir d", 10, "no pin none"),
        (
            "restore c --to-time 2020-01-01T00:00:00Z --data-dir d",
            11,
            "nearest recovery point is 1",
        ),
        ("restore c --to-time soon --data-dir d", 3, "20m ago"),
        (
            "restore c --to-time 2999-01-01T00:00:00Z --data-dir d",
            3,
            "--latest",
        ),
        (
            "restore c --before-delete k --data-dir d",
            11,
            "no deletion",
        ),
        ("restore c --latest --since 3 --data-dir d", 3, "--since"),
        ("get k --at 31", 11, "30"),
        ("get k --at 15", 15, "10 and 20"),
        ("get", 3, "--prefix"),
        ("get k --at latest --cluster x", 10, "it has c"),
        ("log k -w fields", 3, "-w json"),
        ("pin a/b c --latest", 3, "pin name"),
        ("pin p c --to-revision 31", 11, "30"),
        ("unpin p c", 10, "no pin p"),
        ("restore c --to-revision 0 --data-dir d", 3, "--to-revision"),
        (
            "restore c --latest --to-revision 3 --data-dir d",
            3,
            "--latest",
        ),
        (
            "restore c --latest --data-dir d --initial-cluster a=http://x:1",
            3,
            "default",
        ),
        (
            "restore c --latest --data-dir d --timeline 0009",
            10,
            "0009",
        ),
    ] {
        let output = revkeep(place, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(says), "{arguments}: {said}");
        assert!(!place.join("d").exists(), "{arguments}");
    }
    let left = fs::read_dir(place).unwrap().count();
    assert_eq!(left, 2, "only the vault and the full directory");
    assert_eq!(fs::read(place.join("full/mine")).unwrap(), b"mine");
}

#[test]
fn a_snapshot_and_a_plan_and_info() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    vault(&format!("file://{}/vault", place.display()));
    let output = revkeep(
        place,
        "restore c --to-revision 25 --snapshot-file s.db -w json",
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(check_trailer(place.join("s.db")).unwrap(), Trailer::Valid);
    let again = revkeep(place, "restore c --to-revision 25 --snapshot-file s.db");
    assert_eq!(again.status.code(), Some(16));
    let plan = revkeep(place, "restore c --latest --dry-run");
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("30"), "{plan}");
    assert!(
        plan.contains("note") && plan.contains("no HashKV"),
        "{plan}"
    );
    let info = revkeep(place, "info c -w json");
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info.get("minimum_recoverable"), Some(&1.into()));
    assert_eq!(info.get("maximum_recoverable"), Some(&30.into()));
    assert_eq!(
        info.get("maximum_seen"),
        Some(&"2023-11-14T22:13:50Z".into())
    );
    let clusters = revkeep(place, "info -w json");
    let clusters: serde_json::Value = serde_json::from_slice(&clusters.stdout).unwrap();
    assert_eq!(
        clusters.pointer("/clusters/0/maximum_recoverable"),
        Some(&30.into())
    );
    fs::create_dir_all(place.join("vault/clusters/broken/0001")).unwrap();
    fs::write(place.join("vault/clusters/broken/0001/timeline"), "x").unwrap();
    let clusters = revkeep(place, "info");
    let clusters = String::from_utf8_lossy(&clusters.stdout).into_owned();
    assert!(
        clusters.contains("damaged") && clusters.contains("1 to 30, seen ≈ 2023"),
        "{clusters}"
    );
    let table = revkeep(place, "info c");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    for part in [
        "30, seen ≈ 2023-11-14T22:13:50Z",
        "gap       11 to 19",
        "base      30",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}
