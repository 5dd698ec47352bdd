//! The promise: a file goes where its content is proved to belong, its time misleads nobody, and an import that fails says what stays.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod world;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use revkeep_schemas::{Revision, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Timeline, Vault};
use serde_json::Value as Json;
use world::{Rows, revkeep, url};

const EPOCH_MS: i64 = 1_700_000_000_000;

/// A row for each revision, of a key of its own; those before the last one have this value.
fn rows(last: i64, value: &'static str) -> Rows<impl Fn(i64) -> Vec<u8>> {
    Rows::with(last, move |main| {
        let value = if main == last { "last" } else { value };
        value.as_bytes().to_vec()
    })
}

/// A timeline of cluster `c` in `place/vault` with a base.
async fn base(place: &Path, last: i64, value: &'static str) -> Timeline {
    let vault = Vault::create(&url(place)).await.unwrap();
    let cluster = vault.cluster(&ClusterName::new("c").unwrap());
    let source = SourceIdentity::default();
    let timeline = cluster.create_timeline(source, None).await.unwrap();
    let facts = BaseFacts {
        revision: Revision(last),
        etcd_version: "3.5.33".to_owned(),
        finished_unix_ms: EPOCH_MS + last * 1000,
        ..BaseFacts::default()
    };
    timeline
        .write_base(facts, rows(last, value), None)
        .await
        .unwrap();
    timeline
}

fn json(output: &Output) -> Json {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn members_that_differ_get_timelines_of_their_own() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [one, other, place] = folders.each_ref().map(tempfile::TempDir::path);
    // The same revision, with the same last row, and something else before.
    base(one, 9, "one").await;
    base(other, 9, "other").await;
    for folder in [one, other] {
        let target = place.join(folder.file_name().unwrap());
        let flags = format!("export c --latest {}", target.display());
        assert!(revkeep(folder, &flags).status.success());
    }
    let import = |folder: &Path, flags: &str| {
        let name = folder.file_name().unwrap().to_str().unwrap();
        revkeep(place, &format!("import {name} --cluster c -w json{flags}"))
    };
    assert_eq!(json(&import(one, "")).get("timeline").unwrap(), "0001");
    let refused = import(other, "");
    assert_eq!(refused.status.code(), Some(16), "{refused:?}");
    let its_own = json(&import(other, " --new-timeline"));
    assert_eq!(its_own.get("timeline").unwrap(), "0002", "{its_own}");
    let again = json(&import(other, " --new-timeline"));
    assert_eq!(again.get("outcome").unwrap(), "already there", "{again}");
}

#[tokio::test]
async fn an_import_that_fails_names_the_empty_timeline() {
    let (source, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = place.path();
    base(source.path(), 9, "v").await;
    let flags = format!("export c --latest {}/f.db", place.display());
    assert!(revkeep(source.path(), &flags).status.success());
    // Something is where the chunks go, so that a timeline can be opened, and no base written.
    Vault::create(&url(place)).await.unwrap();
    let chunks = place.join("vault/clusters/c/chunks");
    fs::create_dir_all(chunks.parent().unwrap()).unwrap();
    fs::write(&chunks, "in the way").unwrap();
    let failed = revkeep(place, "import f.db --cluster c");
    assert!(!failed.status.success(), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(
        said.contains("timeline 0001, which was opened for it, stays without content"),
        "{said}"
    );
    fs::remove_file(&chunks).unwrap();
    let again = json(&revkeep(place, "import f.db --cluster c -w json"));
    let told = ["outcome", "timeline"].map(|name| again.get(name).unwrap());
    assert_eq!(told, ["imported", "0001"], "{again}");
}

#[tokio::test]
async fn the_time_of_a_file_does_not_make_its_revision_older() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let timeline = base(place, 5, "v").await;
    let mut writer = timeline.segment_writer(0, 1);
    let mut rows = rows(10, "v");
    while let Some(row) = rows.next_row().unwrap() {
        let main = row.key.main.0;
        if main > 5 {
            writer
                .push_revision(&[row], EPOCH_MS + main * 1000)
                .unwrap();
        }
    }
    timeline
        .put_segment(&writer.finish().unwrap())
        .await
        .unwrap();
    assert!(
        revkeep(place, "export c --to-revision 8 f.db")
            .status
            .success()
    );
    // As a copy may have it that keeps another file's time.
    let long_before = Duration::from_millis((EPOCH_MS - 9_000).unsigned_abs());
    let file = fs::File::options()
        .write(true)
        .open(place.join("f.db"))
        .unwrap();
    file.set_modified(UNIX_EPOCH + long_before).unwrap();
    let report = json(&revkeep(place, "import f.db --cluster c -w json"));
    assert_eq!(report.get("outcome").unwrap(), "imported", "{report}");
    let notes = report.get("notes").unwrap().to_string();
    assert!(
        notes.contains("before its revision was first seen"),
        "{notes}"
    );
    let at = DateTime::from_timestamp_millis(EPOCH_MS + 7_000).unwrap();
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let plan = json(&revkeep(
        place,
        &format!("restore c --to-time {at} --dry-run -w json"),
    ));
    assert_eq!(plan.get("revision").unwrap(), 7, "{plan}");
}
