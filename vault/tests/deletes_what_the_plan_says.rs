//! `revkeep-vault retention`: what the plan says goes, goes, and nothing else; a wrong policy deletes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use revkeep_schemas::Revision;
use revkeep_schemas::names::PinName;
use revkeep_vault::{
    BaseFacts, Coverage, Piece, ReadOptions, SourceIdentity, Timeline, TimelineId, Vault,
};
use serde_json::Value;
use world::{Rows, SMALL, read_all, rows, segment};

const POLICY: &str =
    "[default]\nwindow = '7d'\ndaily = 2\nmonthly = 0\nminimum = 1\ngrace = '0s'\n";

struct Place {
    dir: tempfile::TempDir,
    url: String,
    timeline: Timeline,
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

impl Place {
    /// A vault with a base every ten days, and segments between.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("vault");
        let url = format!("file://{}", root.display());
        let vault = Vault::create(&url).await.unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        let all = rows(2..500, 300);
        let mut previous = None;
        let mut seen = BTreeSet::new();
        for (revision, days) in [(100, 40), (200, 30), (300, 20), (400, 10)] {
            let there: Vec<_> = all
                .iter()
                .filter(|row| row.key.main.0 <= revision)
                .cloned()
                .collect();
            let facts = BaseFacts {
                revision: Revision(revision),
                ..BaseFacts::default()
            };
            let base = timeline
                .write_base_with(facts, Rows::of(&there), previous.as_ref(), SMALL)
                .await;
            previous = Some(base.unwrap());
            let sealed = segment(&timeline, &all, revision + 1, revision + 99);
            timeline.put_segment(&sealed).await.unwrap();
            for file in files(&root) {
                if seen.insert(file.clone()) {
                    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
                    File::open(&file).unwrap().set_modified(then).unwrap();
                }
            }
        }
        std::fs::write(dir.path().join("keep.toml"), POLICY).unwrap();
        Self { dir, url, timeline }
    }

    fn run(&self, command: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_revkeep-vault"))
            .current_dir(self.dir.path())
            .env_remove("REVKEEP_POLICY")
            .args(["retention", command, "--vault", &self.url])
            .args(more)
            .output()
            .unwrap()
    }

    fn tell(&self, command: &str) -> Value {
        let output = self.run(command, &["--policy", "keep.toml", "-w", "json"]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The objects of a folder of the timeline, below the vault.
    fn objects(&self, folder: &str) -> BTreeSet<String> {
        let root = self.dir.path().join("vault");
        let folder = root.join("clusters/prod").join(folder);
        let name = |file: PathBuf| file.strip_prefix(&root).unwrap().display().to_string();
        files(&folder).into_iter().map(name).collect()
    }
}

fn staying(plan: &Value, kind: &str) -> BTreeSet<String> {
    let decisions = plan["timelines"][0][kind].as_array().unwrap();
    let stays = decisions
        .iter()
        .filter(|decision| decision["stays"] == true);
    stays
        .map(|decision| decision["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_goes_is_what_the_plan_said() {
    let place = Place::new().await;
    let before = place.objects("");
    let text = place.run("plan", &["--policy", "keep.toml"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("base at 100") && text.contains("goes"),
        "{text}"
    );
    let plan = place.tell("plan");
    assert_eq!(place.objects(""), before, "a plan changes nothing");
    let (bases, segments) = (staying(&plan, "bases"), staying(&plan, "segments"));
    // Two days, the newest of both the minimum too. Of an idle cluster the newest state stays: the last segment.
    assert_eq!((bases.len(), segments.len()), (2, 1), "{plan}");

    let marked = place.tell("apply");
    assert_eq!(marked["did"], "marked", "{marked}");
    assert!(place.objects("0001").is_superset(&bases));
    assert_eq!(
        place.objects("0001/bases").len(),
        4,
        "what is marked is still there"
    );
    let swept = place.tell("apply");
    assert_eq!(swept["did"], "swept", "{swept}");
    assert_eq!(swept["objects"], marked["objects"]);
    assert_eq!(place.objects("0001/bases"), bases);
    assert_eq!(place.objects("0001/segments"), segments);
    assert_eq!(place.tell("apply")["did"], "nothing");

    let inventory = place.timeline.inventory().await.unwrap();
    let mut listed = 0;
    for base in &inventory.bases {
        let pieces = base
            .manifest
            .chunks
            .iter()
            .copied()
            .map(Piece::Chunk)
            .collect();
        let read = read_all(place.timeline.read_rows(pieces, ReadOptions::default()))
            .await
            .unwrap();
        assert_eq!(read.len() as u64, base.manifest.rows);
        listed = listed.max(base.manifest.chunks.len());
    }
    assert_eq!(
        place.objects("chunks").len(),
        listed + 1,
        "the last chunk of the older base ends where it does"
    );
    let coverage = Coverage::compute(&inventory);
    assert_eq!(coverage.newest(), Some(Revision(499)));
}

#[tokio::test]
async fn a_pin_holds_and_what_is_taken_back_stays() {
    let place = Place::new().await;
    let record = revkeep_vault::PinRecord {
        timeline: TimelineId::FIRST,
        revision: Revision(150),
        reason: "an audit".to_owned(),
        created_unix_ms: 0,
        expires_unix_ms: None,
    };
    let cluster = place.timeline.cluster();
    cluster
        .set_pin(&PinName::new("audit").unwrap(), &record)
        .await
        .unwrap();
    let before = place.objects("0001");
    let round = place.tell("apply")["round"].to_string();
    let back = place.run("take-back", &["prod", &round]);
    assert!(
        back.status.success(),
        "{}",
        String::from_utf8_lossy(&back.stderr)
    );
    assert_eq!(place.tell("apply")["did"], "marked", "a new round");
    assert_eq!(place.objects("0001"), before);
    assert_eq!(place.tell("apply")["did"], "swept");
    // What brings revision 150 back: the base at 100 and the segment after it, and the base at 200 by its own history.
    let held = |folder: &str, revision: &str| {
        let objects = place.objects(folder);
        objects.iter().any(|name| name.contains(revision))
    };
    assert!(held("0001/bases", "00100-") && held("0001/segments", "00101-"));
    assert!(held("0001/bases", "00200-") && !held("0001/segments", "00201-"));
    let late = place.run("take-back", &["prod", "2"]);
    assert_eq!(
        late.status.code(),
        Some(16),
        "{}",
        String::from_utf8_lossy(&late.stderr)
    );
}

#[tokio::test]
async fn a_base_that_lacks_a_chunk_lets_nothing_go_that_leads_past_it() {
    let place = Place::new().await;
    let inventory = place.timeline.inventory().await.unwrap();
    let [.., before, newest] = &inventory.bases[..] else {
        panic!("there are several bases")
    };
    let mut own = newest.manifest.chunks.iter();
    let own = own.rfind(|chunk| !before.manifest.chunks.contains(chunk));
    let chunk = place.timeline.cluster().chunk_object(own.unwrap());
    let file = place.dir.path().join("vault").join(&chunk);
    let content = std::fs::read(&file).unwrap();
    let refused = || {
        let before = place.objects("");
        let output = place.run("apply", &["--policy", "keep.toml"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(16), "{text}");
        assert!(
            text.contains(&newest.name) && text.contains(&chunk),
            "{text}"
        );
        // The round's verdict is written, but nothing goes.
        assert!(place.objects("").is_superset(&before));
    };

    // Before anything is marked.
    std::fs::remove_file(&file).unwrap();
    refused();
    assert_eq!(place.tell("plan")["damaged"][0], newest.name.as_str());
    std::fs::write(&file, &content).unwrap();
    // Between the mark and the sweep.
    assert_eq!(place.tell("apply")["did"], "marked");
    std::fs::remove_file(&file).unwrap();
    refused();
    // Without the base, what leads past it is needed and stays.
    let root = place.dir.path().join("vault");
    let manifest = std::fs::read(root.join(&newest.name)).unwrap();
    std::fs::remove_file(root.join(&newest.name)).unwrap();
    assert_eq!(place.tell("apply")["did"], "swept");
    let coverage = Coverage::compute(&place.timeline.inventory().await.unwrap());
    assert_eq!(coverage.newest(), Some(Revision(399)));
    // And mended, it is counted on again.
    std::fs::write(root.join(&newest.name), manifest).unwrap();
    std::fs::write(&file, &content).unwrap();
    place.tell("apply");
}

#[tokio::test]
async fn a_wrong_policy_deletes_nothing() {
    let place = Place::new().await;
    let before = place.objects("");
    for (policy, told) in [
        ("[default]\nwindw = '1d'\n", "keep.toml:2:1: "),
        ("[default]\nwindow = 'soon'\n", "keep.toml:2:10: "),
        ("[default]\nminimum = 0\n", "keep.toml:2:1: "),
    ] {
        std::fs::write(place.dir.path().join("keep.toml"), policy).unwrap();
        for command in ["plan", "apply"] {
            let output = place.run(command, &["--policy", "keep.toml"]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(3), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }
    let output = place.run("apply", &["prud"]);
    assert_eq!(output.status.code(), Some(10));
    assert_eq!(place.objects(""), before);
}
