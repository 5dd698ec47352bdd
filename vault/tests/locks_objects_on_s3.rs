//! Object lock on a real S3 server: `retention plan` and `apply` set dates that hold, and a delete that goes by leaves what it
//! seems to delete.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::ObjectStore;
use revkeep_harness::{Process, SeaweedFs, free_port, http};
use revkeep_schemas::Revision;
use revkeep_vault::{BaseFacts, Head, Piece, ReadOptions, Timeline, Vault};
use serde_json::Value;
use world::{Rows, SMALL, read_all, rows, segment, timeline};

const BUCKET: &str = "locked";
const TWO_DAYS: &str = "lock = 'governance'\nlock-for = '2d'\n";

/// The date of an object, as the server itself says; `None` where it has none.
async fn date(server: &SeaweedFs, key: &str) -> Option<(String, DateTime<Utc>)> {
    let answer = server
        .signed("GET", BUCKET, key, &[("retention", "")], &[], &[])
        .await
        .unwrap();
    let body = String::from_utf8(answer.body).unwrap();
    let element = |name: &str| {
        let rest = body.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once('<')?.0.to_owned())
    };
    if answer.status == 404 {
        return None;
    }
    assert_eq!(answer.status, 200, "{key}: {body}");
    Some((
        element("Mode").unwrap(),
        element("RetainUntilDate").unwrap().parse().unwrap(),
    ))
}

async fn delete(server: &SeaweedFs, key: &str, version: Option<&str>) -> http::Answer {
    let query: Vec<_> = version
        .into_iter()
        .map(|version| ("versionId", version))
        .collect();
    server
        .signed("DELETE", BUCKET, key, &query, &[], &[])
        .await
        .unwrap()
}

/// Writes the policy and runs `revkeep-vault retention`.
fn run(server: &SeaweedFs, url: &str, command: &str, policy: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keep.toml");
    std::fs::write(&file, format!("[default]\n{policy}")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_revkeep-vault"))
        .envs(server.credentials())
        .args([
            "retention",
            command,
            "--vault",
            url,
            "-w",
            "json",
            "--policy",
        ])
        .arg(file)
        .output()
        .unwrap()
}

fn told(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn all(store: &dyn ObjectStore) -> Vec<String> {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    all.into_iter()
        .map(|meta| meta.location.to_string())
        .collect()
}

async fn fill(store: Arc<dyn ObjectStore>) -> Timeline {
    let timeline = timeline(store).await;
    let all = rows(2..60, 400);
    let base: Vec<_> = all
        .iter()
        .filter(|row| row.key.main.0 <= 40)
        .cloned()
        .collect();
    let facts = BaseFacts {
        revision: Revision(40),
        ..BaseFacts::default()
    };
    timeline
        .write_base_with(facts, Rows::of(&base), None, SMALL)
        .await
        .unwrap();
    timeline
        .put_segment(&segment(&timeline, &all, 41, 50))
        .await
        .unwrap();
    timeline.cluster().put_head(&Head::default()).await.unwrap();
    timeline
}

fn has_date(name: &str) -> bool {
    !(name.ends_with("/head") || name.contains("/writing/") || name.contains("/deletions/"))
}

#[tokio::test]
async fn a_date_that_is_set_holds_and_is_only_ever_made_later() {
    let Some(server) = SeaweedFs::start().await.unwrap() else {
        return;
    };
    server.create_locking_bucket(BUCKET).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(server.object_store_of(BUCKET).unwrap());
    let timeline = fill(store.clone()).await;
    let url = server.url_in(BUCKET, "some/prefix");

    // A plan says what is due and sets nothing.
    let names = all(store.as_ref()).await;
    let locked: Vec<_> = names.iter().filter(|name| has_date(name)).collect();
    assert!(locked.len() > 4 && locked.len() < names.len(), "{names:?}");
    let plan = told(&run(&server, &url, "plan", TWO_DAYS));
    assert_eq!(plan["lock"]["objects"], locked.len(), "{plan}");
    assert!(plan["lock"]["bytes"].as_u64().unwrap() > 1_000, "{plan}");
    for name in &names {
        assert_eq!(date(&server, name).await, None, "{name}");
    }

    // An apply does exactly that, before anything else.
    let begun = Utc::now();
    let applied = told(&run(&server, &url, "apply", TWO_DAYS));
    let said = &applied["locked"];
    assert_eq!(applied["did"], "nothing", "{applied}");
    assert_eq!(
        (&said["objects"], &said["bytes"]),
        (&plan["lock"]["objects"], &plan["lock"]["bytes"])
    );
    assert_eq!(
        (
            said["covered"].as_u64(),
            said["failed"].as_array().unwrap().len()
        ),
        (Some(0), 0)
    );
    let until: DateTime<Utc> = said["until"].as_str().unwrap().parse().unwrap();
    let off = until - begun - TimeDelta::days(2);
    assert!(
        off.num_seconds().abs() < 120,
        "{until} is not two days from {begun}"
    );
    for name in &names {
        let expected = has_date(name).then(|| ("GOVERNANCE".to_owned(), until));
        assert_eq!(date(&server, name).await, expected, "{name}");
    }
    let again = told(&run(&server, &url, "apply", TWO_DAYS));
    assert_eq!(
        (&again["locked"]["objects"], &again["locked"]["covered"]),
        (&0.into(), &locked.len().into())
    );

    only_later(&server, &url, &locked).await;
    stricter(&server, &url, &timeline, &locked).await;
    survives_whoever_deletes(&server, store).await;
}

/// A longer policy renews, for less than half of it is left; a shorter one shortens nothing.
async fn only_later(server: &SeaweedFs, url: &str, locked: &[&String]) {
    let longer = told(&run(
        server,
        url,
        "apply",
        "lock = 'governance'\nlock-for = '30d'\n",
    ));
    assert_eq!(longer["locked"]["objects"], locked.len(), "{longer}");
    let shorter = told(&run(server, url, "apply", TWO_DAYS));
    assert_eq!(shorter["locked"]["objects"], 0, "{shorter}");
    let until: DateTime<Utc> = longer["locked"]["until"].as_str().unwrap().parse().unwrap();
    for name in locked {
        assert_eq!(
            date(server, name).await,
            Some(("GOVERNANCE".to_owned(), until)),
            "{name}"
        );
    }
}

/// The server changes no mode without a bypass: dates are renewed, and what is new is in compliance mode.
async fn stricter(server: &SeaweedFs, url: &str, timeline: &Timeline, locked: &[&String]) {
    let store = server.object_store_of(BUCKET).unwrap();
    let store_ref: &dyn ObjectStore = &store;
    let all_rows = rows(2..60, 400);
    timeline
        .put_segment(&segment(timeline, &all_rows, 51, 59))
        .await
        .unwrap();
    let strict = told(&run(
        server,
        url,
        "apply",
        "lock = 'compliance'\nlock-for = '90d'\n",
    ));
    assert_eq!(strict["locked"]["objects"], locked.len() + 1, "{strict}");
    assert_eq!(strict["locked"]["weaker"], locked.len(), "{strict}");
    let until: DateTime<Utc> = strict["locked"]["until"].as_str().unwrap().parse().unwrap();
    let mut modes = Vec::new();
    for name in all(store_ref).await.iter().filter(|name| has_date(name)) {
        let (mode, date) = date(server, name).await.unwrap();
        assert_eq!(date, until, "{name}");
        modes.push(mode);
    }
    let strict = modes.iter().filter(|mode| *mode == "COMPLIANCE");
    assert_eq!((strict.count(), modes.len()), (1, locked.len() + 1));
}

/// Somebody deletes everything, versions too where the store lets go of them. Only markers are to be removed then.
async fn survives_whoever_deletes(server: &SeaweedFs, store: Arc<dyn ObjectStore>) {
    let mut markers = Vec::new();
    for name in &all(store.as_ref()).await {
        let versions = server
            .signed(
                "GET",
                BUCKET,
                "",
                &[("versions", ""), ("prefix", name)],
                &[],
                &[],
            )
            .await;
        let versions = String::from_utf8(versions.unwrap().body).unwrap();
        let ids: Vec<_> = versions
            .split("<VersionId>")
            .skip(1)
            .map(|id| id.split('<').next().unwrap())
            .collect();
        let marker = delete(server, name, None).await;
        assert_eq!(marker.status, 204, "{name}");
        markers.push((
            name.clone(),
            marker.header("x-amz-version-id").unwrap().to_owned(),
        ));
        assert!(!ids.is_empty(), "{versions}");
        for id in ids {
            let gone = delete(server, name, Some(id)).await;
            assert_eq!(
                gone.status,
                if has_date(name) { 403 } else { 204 },
                "{name}: {gone:?}"
            );
        }
    }
    assert_eq!(all(store.as_ref()).await, Vec::<String>::new());
    for (name, marker) in &markers {
        assert_eq!(
            delete(server, name, Some(marker)).await.status,
            204,
            "{name}"
        );
    }
    let vault = Vault::with_store(store, "some/prefix".into())
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let timeline = cluster.newest_timeline().await.unwrap().unwrap();
    let inventory = timeline.inventory().await.unwrap();
    assert_eq!((inventory.bases.len(), inventory.segments.len()), (1, 2));
    let chunks = inventory.bases[0]
        .manifest
        .chunks
        .iter()
        .copied()
        .map(Piece::Chunk);
    let read = read_all(timeline.read_rows(chunks.collect(), ReadOptions::default()))
        .await
        .unwrap();
    assert_eq!(read.len() as u64, inventory.bases[0].manifest.rows);
}

#[tokio::test]
async fn a_store_without_locks_is_one_clear_error_and_nothing_is_deleted() {
    let Some(server) = SeaweedFs::start().await.unwrap() else {
        return;
    };
    let store: Arc<dyn ObjectStore> = Arc::new(server.object_store().unwrap());
    let _timeline = fill(store.clone()).await;
    let before = all(store.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    let local = format!("file://{}", folder.path().display());
    let vault = Vault::create(&local).await.unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    cluster
        .create_timeline(revkeep_vault::SourceIdentity::default(), None)
        .await
        .unwrap();
    for (url, says) in [
        (
            server.url("some/prefix"),
            "the bucket has no object lock: create it with object lock enabled, or remove lock from the policy",
        ),
        (local, "object lock dates are supported on S3 only"),
    ] {
        for command in ["plan", "apply"] {
            let output = run(&server, &url, command, TWO_DAYS);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{command} {url}: {said}");
            assert_eq!(said.matches(says).count(), 1, "{command} {url}: {said}");
        }
        let without = run(&server, &url, "apply", "window = '7d'\n");
        assert!(without.status.success(), "{without:?}");
    }
    assert_eq!(all(store.as_ref()).await, before);
}

#[tokio::test]
async fn the_service_locks_on_its_schedule() {
    let Some(server) = SeaweedFs::start().await.unwrap() else {
        return;
    };
    server.create_locking_bucket(BUCKET).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(server.object_store_of(BUCKET).unwrap());
    let _timeline = fill(store.clone()).await;
    let names = all(store.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("keep.toml");
    std::fs::write(&policy, "[default]\nlock = 'compliance'\nlock-for = '2d'\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_revkeep-vault"));
    command
        .envs(server.credentials())
        .args([
            "serve",
            "--jitter",
            "0s",
            "--retention-schedule",
            "* * * * *",
        ])
        .args(["--vault", &server.url_in(BUCKET, "some/prefix")])
        .args([
            "--catalog",
            &format!("sqlite://{}/c.sqlite", folder.path().display()),
        ])
        .args(["--listen", &format!("127.0.0.1:{}", free_port().unwrap())])
        .arg("--policy")
        .arg(&policy)
        .env("RUST_LOG", "info");
    let mut service = Process::start(command, &folder.path().join("service.log")).unwrap();
    // It is due within a minute.
    let long = Duration::from_secs(180);
    service.wait_for_log(" locked ", long).await.unwrap();
    service.terminate().unwrap();
    assert!(
        service.wait(long).await.unwrap().success(),
        "{}",
        service.log()
    );
    for name in &names {
        let mode = date(&server, name).await.map(|(mode, _)| mode);
        assert_eq!(mode.is_some(), has_date(name), "{name}: {}", service.log());
        assert!(mode.is_none_or(|mode| mode == "COMPLIANCE"), "{name}");
    }
}
