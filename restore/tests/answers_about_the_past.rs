//! An operator finds out what happened, and when, without restoring anything.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Output};

use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Timeline, Vault};
use serde_json::Value as Json;

const POD: &str = "/registry/pods/shop/web-0";
/// 2023-11-14T22:13:20Z; each revision is seen a minute after the one before.
const EPOCH_MS: i64 = 1_700_000_000_000;

struct Nothing;

impl RowSource for Nothing {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        Ok(None)
    }
}

fn object(image: &str, replicas: u32) -> Vec<u8> {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"web-0","namespace":"shop","uid":"6f1c"}},"spec":{{"image":"{image}","replicas":{replicas}}}}}"#
    )
    .into_bytes()
}

/// A base at 1, and revisions 2 to 6: a pod is made, changed, deleted; a secret is made; a value that no terminal likes.
async fn fill(timeline: &Timeline) {
    let facts = BaseFacts {
        revision: Revision(1),
        etcd_version: "3.5.35".to_owned(),
        finished_unix_ms: EPOCH_MS + 60_000,
        ..BaseFacts::default()
    };
    timeline.write_base(facts, Nothing, None).await.unwrap();
    let mut segment = timeline.segment_writer(0, 1);
    let changes: [(&str, i64, i64, Option<Vec<u8>>); 5] = [
        (POD, 2, 1, Some(object("web:1", 1))),
        (POD, 2, 2, Some(object("web:2", 1))),
        (
            "/registry/secrets/shop/key",
            4,
            1,
            Some(b"k8s:enc:aescbc:v1:key1:\xff\x00".to_vec()),
        ),
        (POD, 0, 0, None),
        ("odd", 6, 1, Some(b"\x1b[2J".to_vec())),
    ];
    for (revision, (key, created, version, value)) in (2..).zip(changes) {
        let row_key = RowKey {
            main: Revision(revision),
            sub: 0,
            tombstone: value.is_none(),
        };
        let value = match &value {
            None => KeyValue::encode_tombstone(key.as_bytes()),
            Some(value) => KeyValue {
                key: key.as_bytes(),
                create_revision: created,
                mod_revision: revision,
                version,
                value,
                lease: 0,
            }
            .encode(),
        };
        let row = Row {
            key: row_key,
            value: &value,
        };
        segment
            .push_revision(&[row], EPOCH_MS + revision * 60_000)
            .unwrap();
    }
    timeline
        .put_segment(&segment.finish().unwrap())
        .await
        .unwrap();
}

/// A vault with one cluster of two timelines: the first as [`fill`] makes it, the second a copy of its first revision.
fn vault(place: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = format!("file://{}/vault", place.display());
        let vault = Vault::create(&url).await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("prod").unwrap());
        let source = SourceIdentity::default();
        let first = cluster.create_timeline(source, None).await.unwrap();
        fill(&first).await;
        let source = SourceIdentity {
            cluster_id: 2,
            ..SourceIdentity::default()
        };
        let parent = Some((first.id(), Revision(1)));
        let second = cluster.create_timeline(source, parent).await.unwrap();
        let facts = BaseFacts {
            revision: Revision(1),
            etcd_version: "3.5.35".to_owned(),
            finished_unix_ms: EPOCH_MS + 3_600_000,
            ..BaseFacts::default()
        };
        second.write_base(facts, Nothing, None).await.unwrap();
    });
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        vault(place.path());
        Self(place)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let place = self.0.path();
        Command::new(env!("CARGO_BIN_EXE_revkeep"))
            .args(arguments)
            .env("REVKEEP_VAULT", format!("file://{}/vault", place.display()))
            .env("REVKEEP_CACHE_DIR", place.join("cache"))
            .env("TZ", "UTC")
            .current_dir(place)
            .output()
            .unwrap()
    }

    /// Standard output and standard error of a command that succeeds.
    fn said(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&output.stdout), text(&output.stderr))
    }

    /// The same on the first timeline.
    fn first(&self, arguments: &[&str]) -> String {
        let all = [arguments, &["--timeline", "0001"]].concat();
        self.said(&all).0
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let all = [arguments, &["-w", "json"]].concat();
        serde_json::from_str(&self.first(&all)).unwrap()
    }
}

#[test]
fn keys_are_read_as_they_were() {
    let place = Place::new();
    let before = place.json(&["get", POD, "--at", "2"]);
    assert_eq!(before.pointer("/count"), Some(&1.into()));
    assert_eq!(before.pointer("/kvs/0/mod_revision"), Some(&2.into()));
    assert_eq!(before.pointer("/kvs/0/what/kind"), Some(&"Pod".into()));
    assert_eq!(
        before.pointer("/header/seen"),
        Some(&"2023-11-14T22:15:20.000Z".into())
    );
    assert_eq!(
        before.pointer("/header/seen_until"),
        Some(&"2023-11-14T22:16:20.000Z".into())
    );
    let by_time = place.json(&["get", POD, "--at", "2023-11-14 22:16:30"]);
    assert_eq!(by_time.pointer("/header/revision"), Some(&3.into()));
    assert_eq!(by_time.pointer("/kvs/0/version"), Some(&2.into()));
    let gone = place.json(&["get", POD, "--at", "5"]);
    assert_eq!(gone.pointer("/count"), Some(&0.into()));

    let value = place.first(&["get", POD, "--at", "3", "--print-value-only"]);
    assert_eq!(value.trim_end().as_bytes(), object("web:2", 1));
    let keys = place.first(&["get", "--prefix", "/registry/", "--at", "4", "--keys-only"]);
    assert_eq!(keys, format!("{POD}\n/registry/secrets/shop/key\n"));
    let some = place.first(&[
        "get",
        "--prefix",
        "",
        "--limit",
        "1",
        "--keys-only",
        "-w",
        "simple",
    ]);
    assert_eq!(some, "/registry/secrets/shop/key\n");
    let from = place.first(&["get", "--from-key", "/registry/q", "-w", "fields"]);
    assert!(from.contains(r#""Value" : "\x1b[2J""#), "{from}");
    let table = place.first(&["get", "--prefix", "", "--at", "latest"]);
    assert!(
        table.contains("provider aescbc v1, key key1") && !table.contains('\x1b'),
        "{table}"
    );
    // The newest timeline is the default.
    assert_eq!(place.said(&["get", "--prefix", ""]).0, "");
}

#[test]
fn a_log_tells_all_and_a_difference_what_is_left_of_it() {
    let place = Place::new();
    let log = place.first(&["log", POD]);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(
        lines
            .iter()
            .zip(["2 ≈", "3 ≈", "5 ≈"])
            .all(|(line, at)| line.contains(at)),
        "{log}"
    );
    assert!(
        log.contains("delete") && log.contains("Pod shop/web-0 (v1) uid 6f1c"),
        "{log}"
    );
    let ended = place.first(&["log", "--prefix", "/registry/", "--deletes", "-w", "ndjson"]);
    let deleted: Json = serde_json::from_str(&ended).unwrap();
    assert_eq!(deleted.pointer("/revision"), Some(&5.into()));
    assert_eq!(deleted.pointer("/key_text"), Some(&POD.into()));
    let some = place.json(&[
        "log",
        "--prefix",
        "",
        "--since",
        "2023-11-14 22:16:20",
        "--until",
        "5",
    ]);
    let revisions: Vec<_> = some
        .pointer("/versions")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry.pointer("/revision").unwrap().as_i64().unwrap())
        .collect();
    assert_eq!(revisions, [4, 5]);

    let changed = place.first(&["diff", "--from", "2", "--to", "3"]);
    assert!(
        changed.starts_with(&format!("~ {POD}")) && changed.contains(": .spec.image\n"),
        "{changed}"
    );
    let all = place.json(&["diff", "--from", "3", "--to", "6"]);
    for (count, name) in [(2, "/created"), (0, "/changed"), (1, "/deleted")] {
        assert_eq!(all.pointer(name), Some(&count.into()), "{name}");
    }
    let none = place.json(&["diff", "--from", "3", "--to", "6", "--prefix", "/x/"]);
    assert_eq!(none.pointer("/changes"), Some(&Json::Array(Vec::new())));
    for (from, code) in [("3", 14), ("6", 0)] {
        let output = place.run(&[
            "diff",
            "--from",
            from,
            "--to",
            "6",
            "--exit-code",
            "--timeline",
            "1",
        ]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn a_restore_goes_to_where_it_is_asked_to_by_any_name() {
    let place = Place::new();
    let plan =
        |arguments: &[&str]| place.json(&[&["restore", "prod", "--dry-run"], arguments].concat());
    for (arguments, revision) in [
        (&["--before-delete", POD][..], 4),
        (&["--before-delete", POD, "--since", "4"], 4),
        (&["--to-time", "2023-11-14T22:17:59Z"], 4),
        (&["--to-time", "2023-11-14 22:18"], 4),
        (&["--latest"], 6),
    ] {
        let plan = plan(arguments);
        assert_eq!(
            plan.pointer("/revision"),
            Some(&revision.into()),
            "{arguments:?}"
        );
        let after = 6 - revision;
        assert_eq!(plan.pointer("/point/after/revisions"), Some(&after.into()));
        assert!(
            plan.pointer("/point/seen").is_some_and(Json::is_string),
            "{plan}"
        );
    }
    let deleted = [
        "restore",
        "prod",
        "--dry-run",
        "--before-delete",
        POD,
        "--since",
        "5",
        "--timeline",
        "1",
    ];
    assert_eq!(place.run(&deleted).status.code(), Some(11));
    // A time before the newest timeline began names the one before.
    let early = place.run(&[
        "restore",
        "prod",
        "--dry-run",
        "--to-time",
        "2023-11-14T22:18:00Z",
    ]);
    assert_eq!(early.status.code(), Some(11));
    assert!(
        String::from_utf8_lossy(&early.stderr).contains("--timeline 0001"),
        "{early:?}"
    );
}

#[test]
fn a_pin_is_a_name_for_a_revision() {
    let place = Place::new();
    let pinned = place.json(&[
        "pin",
        "before",
        "prod",
        "--before-delete",
        POD,
        "--reason",
        "why",
        "--expires",
        "30d",
    ]);
    assert_eq!(pinned.pointer("/revision"), Some(&4.into()));
    assert!(pinned.pointer("/expires").is_some_and(Json::is_string));
    // It knows its timeline.
    let (plan, _) = place.said(&["restore", "prod", "--pin", "before", "--dry-run"]);
    assert!(
        plan.contains("revision          4") && plan.contains("timeline 0001"),
        "{plan}"
    );
    let (keys, stderr) = place.said(&["get", POD, "--at", "pin:before", "--keys-only"]);
    assert_eq!(keys, format!("{POD}\n"));
    assert!(stderr.contains("revision 4 (timeline 0001)"), "{stderr}");
    let again = place.run(&["pin", "before", "prod", "--latest"]);
    assert_eq!(again.status.code(), Some(16));
    let other = place.run(&[
        "restore",
        "prod",
        "--pin",
        "before",
        "--timeline",
        "0002",
        "--dry-run",
    ]);
    assert_eq!(other.status.code(), Some(3));
    place.said(&["unpin", "before", "prod"]);
    assert_eq!(
        place.run(&["get", POD, "--at", "pin:before"]).status.code(),
        Some(10)
    );
}

#[test]
fn the_keys_of_a_revision_become_lines_and_files() {
    let place = Place::new();
    let restore = |arguments: &[&str]| {
        let all = [
            "restore",
            "prod",
            "--to-revision",
            "4",
            "--timeline",
            "0001",
        ];
        place.said(&[&all[..], arguments].concat()).0
    };
    let lines = restore(&["--ndjson", "-", "--prefix", "/registry/pods/"]);
    let line: Json = serde_json::from_str(&lines).unwrap();
    assert_eq!(line.pointer("/key_text"), Some(&POD.into()));
    assert_eq!(line.pointer("/mod_revision"), Some(&3.into()));
    assert!(restore(&["--ndjson", "all.ndjson"]).contains("revision          4"));
    let all = std::fs::read_to_string(place.0.path().join("all.ndjson")).unwrap();
    assert!(
        all.lines().count() == 2 && all.contains(lines.trim_end()),
        "{all}"
    );
    restore(&["--files", "then"]);
    let file = |name: &str| std::fs::read(place.0.path().join("then").join(name)).unwrap();
    assert_eq!(file("%/registry/pods/shop/web-0.val"), object("web:2", 1));
    assert!(file("%/registry/secrets/shop/key.val").starts_with(b"k8s:enc:"));
    assert_eq!(file("%keys.ndjson").split(|byte| *byte == b'\n').count(), 3);
    for arguments in [&["--files", "then"][..], &["--ndjson", "all.ndjson"]] {
        let all = [
            &[
                "restore",
                "prod",
                "--to-revision",
                "4",
                "--timeline",
                "0001",
            ],
            arguments,
        ]
        .concat();
        assert_eq!(place.run(&all).status.code(), Some(16), "{arguments:?}");
    }
    for arguments in [
        &["--files", "x", "--ndjson", "y"][..],
        &["--data-dir", "d", "--prefix", "/"],
        &["--ndjson", "-", "--apply"],
    ] {
        let all = [&["restore", "prod", "--latest"], arguments].concat();
        assert_eq!(place.run(&all).status.code(), Some(3), "{arguments:?}");
    }
}
