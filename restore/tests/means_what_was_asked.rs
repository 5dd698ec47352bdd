//! The promise: where what was asked for may be understood in two ways, or the vault does not know enough, the command says so, or
//! refuses before it acts.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod world;

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Output};

use chrono::{DateTime, SecondsFormat};
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{BaseFacts, Cluster, ClusterName, SourceIdentity, Timeline, Vault};
use serde_json::Value as Json;
use world::{names, url};

const EPOCH_MS: i64 = 1_700_000_000_000;

/// The row of a revision: `k` is put at every third and deleted at the one after it, else there is a key of its own.
fn row(main: i64) -> RowBuf {
    let own = format!("own {main:04}");
    let (name, tombstone) = match main % 3 {
        2 => ("k", false),
        0 => ("k", true),
        _ => (own.as_str(), false),
    };
    let value = if tombstone {
        KeyValue::encode_tombstone(name.as_bytes())
    } else {
        KeyValue {
            key: name.as_bytes(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            value: b"v",
            lease: 0,
        }
        .encode()
    };
    let key = RowKey {
        main: Revision(main),
        sub: 0,
        tombstone,
    };
    RowBuf {
        key,
        value: value.into(),
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

/// Revision `n` was seen `n` seconds after the epoch.
fn seen(revision: i64) -> String {
    let time = DateTime::from_timestamp_millis(EPOCH_MS + revision * 1000).unwrap();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn base(timeline: &Timeline, revision: i64, compact: i64) {
    let rows: Vec<_> = (2..=revision).map(row).collect();
    let alive = |row: &RowBuf| row.key.main.0 > compact || row.key.main.0 % 3 == 1;
    let rows: Vec<_> = rows.into_iter().filter(alive).collect();
    let facts = BaseFacts {
        revision: Revision(revision),
        compact_revision: Revision(compact),
        etcd_version: "3.5.1".to_owned(),
        finished_unix_ms: EPOCH_MS + revision * 1000,
        ..BaseFacts::default()
    };
    let rows = Rows(rows.into_iter(), None);
    timeline.write_base(facts, rows, None).await.unwrap();
}

async fn segment(timeline: &Timeline, range: RangeInclusive<i64>) {
    let mut writer = timeline.segment_writer(0, 1);
    for main in range {
        let row = row(main);
        let seen = EPOCH_MS + main * 1000;
        writer.push_revision(&[row.as_row()], seen).unwrap();
    }
    let sealed = writer.finish().unwrap();
    timeline.put_segment(&sealed).await.unwrap();
}

async fn cluster(place: &Path) -> Cluster {
    let vault = Vault::create(&url(place)).await.unwrap();
    vault.cluster(&ClusterName::new("c").unwrap())
}

async fn timeline(place: &Path) -> Timeline {
    let source = SourceIdentity::default();
    let cluster = cluster(place).await;
    cluster.create_timeline(source, None).await.unwrap()
}

/// A base and its segment up to 10, nothing of 11 to 29, and a base at 40 that was compacted at 30, with what comes after it.
async fn with_a_gap(place: &Path) {
    let timeline = timeline(place).await;
    base(&timeline, 5, 0).await;
    segment(&timeline, 6..=10).await;
    base(&timeline, 40, 30).await;
    segment(&timeline, 41..=43).await;
}

fn revkeep(place: &Path, arguments: &[&str]) -> Output {
    Command::new(world::REVKEEP)
        .args(arguments)
        .env("REVKEEP_VAULT", url(place))
        .env("REVKEEP_CACHE_DIR", "")
        .env_remove("REVKEEP_LOG")
        .current_dir(place)
        .output()
        .unwrap()
}

/// A plan for the time at which a revision was seen.
fn plan_at(place: &Path, revision: i64) -> Output {
    let plan = ["restore", "c", "--dry-run", "-w", "json"];
    let seen = seen(revision);
    revkeep(place, &[&plan[..], &["--to-time", &seen]].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Json {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_deletion_below_a_gap_may_not_be_the_newest() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let timeline = timeline(place).await;
    base(&timeline, 5, 0).await;
    segment(&timeline, 6..=10).await;
    // Nothing of `k` is in it, but what became of it in between nobody knows.
    base(&timeline, 40, 40).await;
    let deleted = ["restore", "c", "--before-delete", "k"];
    for target in ["--data-dir", "--ndjson", "--files", "--snapshot-file"] {
        let refused = revkeep(place, &[&deleted[..], &[target, "new"]].concat());
        assert_eq!(refused.status.code(), Some(15), "{target}: {refused:?}");
        for part in ["revisions 11 to 40", "Try: --to-revision 8"] {
            assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
        }
        assert_eq!(names(place), ["vault"]);
        let plan = [&deleted[..], &[target, "new", "--dry-run", "-w", "json"]];
        let plan = json(&revkeep(place, &plan.concat()));
        assert!(plan["notes"].to_string().contains("11 to 40"), "{plan}");
        assert_eq!(plan["revision"], 8, "{plan}");
    }
    // What was meant can be said.
    let plain = ["restore", "c", "--to-revision", "8", "--ndjson", "new"];
    assert!(revkeep(place, &plain).status.success());
}

#[tokio::test]
async fn a_deletion_above_all_gaps_is_the_newest() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    with_a_gap(place).await;
    let deleted = ["restore", "c", "--before-delete", "k", "--ndjson", "new"];
    let report = json(&revkeep(place, &[&deleted[..], &["-w", "json"]].concat()));
    assert_eq!(
        (&report["revision"], &report["notes"]),
        (&41.into(), &Json::Array(Vec::new()))
    );
}

#[tokio::test]
async fn a_time_in_a_gap_is_told_to_be_in_one() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    with_a_gap(place).await;
    for (at, revision, in_gap) in [
        (20, 10, true),
        (10, 10, true),
        (9, 9, false),
        (42, 42, false),
    ] {
        let plan = json(&plan_at(place, at));
        assert_eq!(plan["revision"], revision, "{plan}");
        let told = plan["notes"].to_string().contains("revisions 11 to 29");
        assert_eq!(told, in_gap, "{plan}");
        let until = &plan["point"]["seen_until"];
        let expected = if in_gap {
            Json::Null
        } else {
            seen(revision + 1).into()
        };
        assert_eq!(*until, expected, "{plan}");
        assert_eq!(plan["point"]["seen"], seen(revision), "{plan}");
    }
}

fn damage(place: &Path, segment: &str) {
    let path = place.join("vault").join(segment);
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn a_time_whose_segment_is_damaged_gives_no_older_revision() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let timeline = timeline(place).await;
    base(&timeline, 5, 0).await;
    let parts = 40;
    for part in 0..parts {
        let first = 6 + part * 5;
        segment(&timeline, first..=first + 4).await;
    }
    // Of this range another agent has all.
    segment(&timeline, 150..=170).await;
    let listing = timeline.listing().await.unwrap();
    let name = |first: i64| {
        let mut segments = listing.segments().iter();
        let named = segments.find(|entry| entry.first.0 == first);
        named.unwrap().name.clone()
    };
    // In the middle, where the search begins, and one more.
    for first in [101, 106, 111, 156, 196] {
        damage(place, &name(first));
    }
    let plan = |at: i64| plan_at(place, at);
    for (at, damaged) in [(103, 101), (100, 101), (108, 101), (198, 196)] {
        let refused = plan(at);
        assert_eq!(refused.status.code(), Some(13), "{at}: {refused:?}");
        let uid = name(damaged);
        let known = format!("Try: --to-revision {}", damaged - 1);
        for part in [uid.as_str(), &known] {
            assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
        }
    }
    // All others are exact, however far from the damage: what is damaged does not mislead the search either.
    for at in [7, 25, 99, 117, 158, 160, 190, 204] {
        let found = plan(at);
        // The plan may need what is damaged, and says so; the revision is resolved all the same.
        if found.status.code() == Some(13) {
            let asked = format!("revision {at} ");
            assert!(said(&found).contains(&asked), "{at}: {}", said(&found));
        } else {
            assert_eq!(json(&found)["revision"], at);
        }
    }
}

#[tokio::test]
async fn the_default_timeline_has_a_base_and_others_are_named() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let first = timeline(place).await;
    base(&first, 5, 0).await;
    segment(&first, 6..=10).await;
    let plan = |flags: &[&str]| {
        let plain = ["restore", "c", "--dry-run", "-w", "json"];
        json(&revkeep(place, &[&plain[..], flags].concat()))
    };
    let alone = plan(&["--latest"]);
    assert!(!alone["notes"].to_string().contains("timeline"), "{alone}");

    // A server that began anew, under the same agent.
    let cluster = cluster(place).await;
    let source = |cluster_id| SourceIdentity {
        cluster_id,
        ..SourceIdentity::default()
    };
    let parent = Some((first.id(), Revision::ZERO));
    let second = cluster.create_timeline(source(2), parent).await.unwrap();
    base(&second, 2, 0).await;
    // And an import that was interrupted.
    let parent = Some((second.id(), Revision::ZERO));
    cluster.create_timeline(source(3), parent).await.unwrap();

    let latest = plan(&["--latest"]);
    assert_eq!(
        (&latest["timeline"], &latest["revision"]),
        (&"0002".into(), &2.into())
    );
    let notes = latest["notes"].to_string();
    for part in [
        "timeline 0002 is taken",
        &format!("0001 (up to revision 10, seen ≈ {})", seen(10)),
        "0003 (without a base)",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let named = plan(&["--latest", "--timeline", "0001"]);
    assert!(!named["notes"].to_string().contains("is taken"), "{named}");

    let outside = ["restore", "c", "--to-revision", "9", "--data-dir", "new"];
    let outside = revkeep(place, &outside);
    assert_eq!(outside.status.code(), Some(11), "{outside:?}");
    assert!(
        said(&outside).contains("Try: --timeline 0001"),
        "{}",
        said(&outside)
    );
    let got = revkeep(place, &["get", "k", "--at", "9", "--cluster", "c"]);
    assert!(
        said(&got).contains("Try: --timeline 0001"),
        "{}",
        said(&got)
    );
    let no_pin = [
        "restore",
        "c",
        "--pin",
        "p",
        "--timeline",
        "foo",
        "--dry-run",
    ];
    assert_eq!(revkeep(place, &no_pin).status.code(), Some(3));
}

#[test]
fn members_of_one_cluster_are_given_the_same_revision() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    world::vault(place, 30, 10);
    let members = [
        "--name",
        "a",
        "--initial-cluster",
        "a=http://127.0.0.1:1,b=http://127.0.0.1:2",
        "--initial-advertise-peer-urls",
        "http://127.0.0.1:1",
        "-w",
        "json",
    ];
    let restore = |point: &[&str], more: &[&str]| {
        let plain = ["restore", "c", "--data-dir", "m"];
        revkeep(place, &[&plain[..], point, &members[..], more].concat())
    };
    let refused = restore(&["--latest"], &[]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let all = "--timeline 0001 --to-revision 30 on each";
    assert!(said(&refused).contains(all), "{}", said(&refused));
    assert!(restore(&["--latest"], &["--dry-run"]).status.success());
    assert_eq!(names(place), ["vault"]);
    let report = json(&restore(&["--to-revision", "30"], &[]));
    assert!(
        !report["notes"].to_string().contains("very same"),
        "{report}"
    );
}

#[tokio::test]
async fn members_that_are_given_a_date_are_warned() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    base(&timeline(place).await, 30, 0).await;
    let plain = [
        "restore",
        "c",
        "--data-dir",
        "m",
        "--initial-cluster",
        "a=http://127.0.0.1:1,b=http://127.0.0.1:2",
        "--initial-advertise-peer-urls",
        "http://127.0.0.1:1",
        "--name",
        "a",
        "-w",
        "json",
        "--to-time",
    ];
    let ago = revkeep(place, &[&plain[..], &["1s ago"]].concat());
    assert_eq!(ago.status.code(), Some(3), "{ago:?}");
    let dated = json(&revkeep(place, &[&plain[..], &[&seen(31)]].concat()));
    let notes = dated["notes"].to_string();
    assert!(
        notes.contains("--timeline 0001 --to-revision 30"),
        "{notes}"
    );
}

#[test]
fn warnings_are_seen_when_it_begins_and_in_the_report() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    world::vault(place, 30, 10);
    let flags = ["restore", "c", "--latest", "--quota-backend-bytes", "1"];
    let real = revkeep(
        place,
        &[&flags[..], &["--data-dir", "d", "-w", "json"]].concat(),
    );
    assert!(
        said(&real).contains("more than the quota"),
        "{}",
        said(&real)
    );
    let report = json(&real);
    assert!(
        report["notes"].to_string().contains("more than the quota"),
        "{report}"
    );
    let plan = [&flags[..], &["--dry-run", "-w", "json"]].concat();
    let plan = json(&revkeep(place, &plan));
    assert!(
        plan["notes"].to_string().contains("more than the quota"),
        "{plan}"
    );
}

#[tokio::test]
async fn a_log_says_of_what_it_does_not_know_all() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    with_a_gap(place).await;
    let log = ["log", "--prefix", "", "--cluster", "c", "-w", "ndjson"];
    let told = revkeep(place, &log);
    assert!(told.status.success(), "{told:?}");
    assert!(
        said(&told).contains("of revisions 11 to 30"),
        "{}",
        said(&told)
    );
    for line in told.stdout.split(|byte| *byte == b'\n') {
        assert!(line.is_empty() || serde_json::from_slice::<Json>(line).is_ok());
    }
}

#[test]
fn a_target_that_is_taken_is_told_before_the_vault_is_asked() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    std::fs::create_dir_all(place.join("there/already")).unwrap();
    for target in ["--ndjson", "--files"] {
        let flags = ["restore", "c", "--latest", target, "there"];
        let refused = revkeep(place, &flags);
        assert_eq!(refused.status.code(), Some(16), "{refused:?}");
    }
}
