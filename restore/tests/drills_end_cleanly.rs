//! A drill that is ended, or cannot boot, leaves nothing behind, and says of the backup only what it found out about it; a
//! verification tells what is wrong whatever else fails.
//!
//! The server is a script in the place of etcd, so that what it does and when is certain.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Vault};
use serde_json::{Value, json};
use world::{REVKEEP, Rows, names, url};

struct Place(tempfile::TempDir);

impl Place {
    /// A vault whose clusters have two timelines with two bases each.
    fn new(clusters: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("scratch")).unwrap();
        fs::create_dir(place.path().join("bin")).unwrap();
        let store = async {
            let vault = Vault::create(&url(place.path())).await.unwrap();
            for name in clusters {
                let cluster = vault.cluster(&ClusterName::new(*name).unwrap());
                let mut parent = None;
                for cluster_id in [1, 2] {
                    let source = SourceIdentity {
                        cluster_id,
                        ..SourceIdentity::default()
                    };
                    let timeline = cluster.create_timeline(source, parent).await.unwrap();
                    parent = Some((timeline.id(), Revision(5)));
                    for revision in [10, 20] {
                        let facts = BaseFacts {
                            revision: Revision(revision),
                            compact_revision: Revision(revision - 10),
                            etcd_version: "3.5.33".to_owned(),
                            ..BaseFacts::default()
                        };
                        let rows = Rows::up_to(revision, 100);
                        timeline.write_base(facts, rows, None).await.unwrap();
                    }
                }
            }
        };
        tokio::runtime::Runtime::new().unwrap().block_on(store);
        Self(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts a script in the place of etcd. `$HERE` is its folder; each start adds a line to `$HERE/starts`.
    fn etcd(&self, script: &str) {
        let bin = self.path().join("bin");
        let _none = fs::remove_file(bin.join("starts"));
        let head = format!(
            "#!/bin/sh\nHERE='{}'\necho $$ >> $HERE/starts\n",
            bin.display()
        );
        fs::write(bin.join("etcd"), format!("{head}{script}\n")).unwrap();
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bin.join("etcd"), executable).unwrap();
    }

    /// The process ids with which the script was started.
    fn starts(&self) -> Vec<String> {
        let starts = fs::read_to_string(self.path().join("bin/starts")).unwrap_or_default();
        let whole = starts
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole.map(|line| line.trim().to_owned()).collect()
    }

    fn command(&self, program: &str, before: &[&str], arguments: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(before)
            .args(arguments.split(' '))
            .env("REVKEEP_VAULT", url(self.path()))
            .env("REVKEEP_CACHE_DIR", "")
            .current_dir(self.path());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(REVKEEP, &[], arguments).output().unwrap()
    }

    /// A drill with the script: its exit code, and what it told.
    fn drill(&self, more: &str) -> (i32, String) {
        let output = self.run(&format!(
            "drill c --etcd --etcd-bin bin --scratch scratch{more}"
        ));
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(told).unwrap(),
        )
    }

    fn receipts(&self) -> usize {
        let folder = self.path().join("vault/clusters/c/receipts");
        fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_drill_that_is_ended_leaves_no_process_and_no_folder() {
    let place = Place::new(&["c"]);
    place.etcd("exec sleep 600");
    for (by, how) in [
        (&["INT"][..], "--default-signal=INT,HUP,TERM"),
        (&["HUP"], "--default-signal=INT,HUP,TERM"),
        // As under nohup: the terminal may go.
        (&["HUP", "TERM"], "--ignore-signal=HUP"),
    ] {
        place.etcd("exec sleep 600");
        let arguments = "drill c --etcd --etcd-bin bin --scratch scratch";
        let mut drill = place
            .command("env", &[how, REVKEEP], arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("it boots", || !place.starts().is_empty());
        assert_eq!(names(&place.path().join("scratch")).len(), 1);
        let (last, first) = by.split_last().unwrap();
        for ignored in first {
            signal(&drill, ignored);
            std::thread::sleep(Duration::from_millis(300));
            assert!(drill.try_wait().unwrap().is_none(), "{ignored} is ignored");
        }
        signal(&drill, last);
        let ended = drill.wait().unwrap();
        assert_eq!(ended.code(), Some(5), "{by:?}");
        assert_eq!(names(&place.path().join("scratch")), [""; 0], "{by:?}");
        let server = PathBuf::from("/proc").join(&place.starts()[0]);
        assert!(!server.exists(), "{by:?}");
    }
    assert_eq!(place.receipts(), 0);
}

#[test]
fn what_the_machine_prevents_says_nothing_of_the_backup() {
    let place = Place::new(&["c"]);
    for (script, starts) in [
        ("echo 'listen tcp: bind: address already in use'; exit 1", 2),
        ("echo 'write: no space left on device'; exit 1", 1),
        ("exec /nonexistent/etcd", 1),
        ("kill -9 $$", 1),
    ] {
        place.etcd(script);
        let (code, told) = place.drill("");
        assert_eq!(code, 1, "{script}: {told}");
        assert_eq!(place.starts().len(), starts, "{script}");
        assert_eq!(place.receipts(), 0, "{script}");
        assert_eq!(names(&place.path().join("scratch")), [""; 0]);
    }
    place.etcd("echo 'panic: freepages: failed to get all reachable pages'; exit 2");
    let (code, told) = place.drill("");
    assert_eq!((code, place.receipts()), (13, 1), "{told}");
}

#[test]
fn the_server_is_the_one_that_was_named_and_has_nobody_elses_settings() {
    let place = Place::new(&["c"]);
    place.etcd("env > $HERE/env; exit 1");
    let ended = place
        .command(
            REVKEEP,
            &[],
            "drill c --etcd --etcd-bin bin --scratch scratch",
        )
        .env("ETCD_WAL_DIR", "/production/wal")
        .env("ETCD_CONFIG_FILE", "/production/etcd.yaml")
        .env("ETCDCTL_ENDPOINTS", "kept")
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(13));
    let seen = fs::read_to_string(place.path().join("bin/env")).unwrap();
    assert!(seen.contains("ETCDCTL_ENDPOINTS=kept"), "{seen}");
    assert!(
        !seen.contains("ETCD_") && !seen.contains("production"),
        "{seen}"
    );

    // A slip of the pen boots no other etcd.
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", place.path().join("bin").display());
    let starts = place.starts().len();
    for (folder, mode) in [("bon", 0o755), ("bin", 0o644)] {
        let etcd = place.path().join("bin/etcd");
        fs::set_permissions(etcd, fs::Permissions::from_mode(mode)).unwrap();
        let ended = place
            .command(REVKEEP, &[], &format!("drill c --etcd --etcd-bin {folder}"))
            .env("PATH", &path)
            .output()
            .unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(3), "{told}");
        assert!(told.contains(&format!("{folder}/etcd")), "{told}");
    }
    assert_eq!(place.starts().len(), starts);
}

#[test]
fn any_revision_is_of_any_timeline_and_damage_beside_it_is_told() {
    let place = Place::new(&["c"]);
    place.etcd("exit 1");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..24 {
        let (code, told) = place.drill(" --random --no-receipt");
        assert_eq!(code, 13, "{told}");
        let line = told.lines().find(|line| line.contains("revision  "));
        seen.insert(line.unwrap().rsplit(' ').next().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");

    let bases = place.path().join("vault/clusters/c/0002/bases");
    let base = bases.join(&names(&bases)[0]);
    fs::write(&base, b"nothing").unwrap();
    let (_, told) = place.drill("");
    let damaged = told.lines().find(|line| line.starts_with("  damaged"));
    assert!(
        damaged.unwrap().contains("bases/00000000000000000010-"),
        "{told}"
    );
    let info = place.run("info c -w json");
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    let summary = info["proofs"].to_string();
    assert!(summary.contains("bases/00000000000000000010-"), "{info:#}");
}

#[test]
fn a_timeline_whose_record_is_damaged_or_gone_ends_no_drill_of_the_others() {
    let place = Place::new(&["c"]);
    place.etcd("exit 1");
    let record = place.path().join("vault/clusters/c/0001/timeline");
    let content = fs::read(&record).unwrap();
    fs::write(&record, b"nothing").unwrap();
    for drills in 1..8 {
        if drills == 4 {
            fs::remove_file(&record).unwrap();
        }
        let (code, told) = place.drill(" --random");
        // It boots, and that is what fails.
        assert_eq!((code, place.starts().len()), (13, drills), "{told}");
        assert!(told.contains("of timeline 0002"), "{told}");
        let damaged = told.lines().find(|line| line.starts_with("  damaged"));
        assert!(damaged.unwrap().contains("c/0001/timeline"), "{told}");
        assert_eq!(place.receipts(), drills);
    }
    fs::write(&record, content).unwrap();
    let info = place.run("info c -w json");
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    let summary = info["proofs"].to_string();
    assert!(summary.contains("c/0001/timeline"), "{info:#}");
}

#[test]
fn a_timeline_whose_record_is_damaged_or_gone_hides_no_other() {
    let place = Place::new(&["c"]);
    let record = |id: &str| place.path().join(format!("vault/clusters/c/{id}/timeline"));
    for (lost, other, code, newest) in [
        ("0001", "0002", 0, json!("0002")),
        ("0002", "0001", 13, json!(null)),
    ] {
        let content = fs::read(record(lost)).unwrap();
        fs::write(record(lost), b"nothing").unwrap();
        for _ in ["damaged", "gone"] {
            let output = place.run("info c -w json");
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            let info: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(info["timeline"], newest, "{info:#}");
            assert_eq!(info["timelines"].as_array().unwrap().len(), 1, "{info:#}");
            assert_eq!(info["timelines"][0]["id"], *other, "{info:#}");
            assert_eq!(
                info["damaged"][0]["name"],
                format!("clusters/c/{lost}/timeline")
            );
            let told = String::from_utf8(place.run("info c").stdout).unwrap();
            assert!(told.contains(&format!("c/{lost}/timeline")), "{told}");
            assert_eq!(told.contains("recoverable  unknown"), code == 13, "{told}");
            let _already_gone = fs::remove_file(record(lost));
        }
        fs::write(record(lost), content).unwrap();
    }
}

#[test]
fn what_is_wrong_is_told_whatever_else_fails() {
    let place = Place::new(&["a", "b", "c"]);
    let verify = |ledger: &str| {
        let output = place.run(&format!("verify --ledger {ledger} -w json"));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let wrong = |cluster: &Value| cluster["findings"].as_array().unwrap().len();
        let clusters = told["clusters"].as_array();
        let clusters = clusters.map(|all| all.iter().map(wrong).collect::<Vec<_>>());
        let code = output.status.code().unwrap();
        (code, clusters.unwrap_or_default())
    };
    assert_eq!(verify("ledger"), (0, vec![0, 0, 0]));
    let bases = place.path().join("vault/clusters/c/0001/bases");
    let base = bases.join(&names(&bases)[0]);
    let content = fs::read(&base).unwrap();
    fs::write(&base, b"nothing").unwrap();
    // No ledger can be written there.
    assert_eq!(verify("/proc/none"), (13, vec![0, 0, 1]));
    // One of the ledgers cannot be read.
    let folder = place.path().join("ledger");
    let ledgers = folder.join(&names(&folder)[0]);
    fs::rename(ledgers.join("b"), place.path().join("b")).unwrap();
    fs::create_dir(ledgers.join("b")).unwrap();
    assert_eq!(verify("ledger"), (13, vec![0, 1]));
    fs::write(&base, &content).unwrap();
    assert_eq!(verify("ledger"), (3, vec![0, 0]));
    fs::remove_dir(ledgers.join("b")).unwrap();
    fs::rename(place.path().join("b"), ledgers.join("b")).unwrap();
    // A cluster that is gone altogether.
    assert_eq!(verify("ledger"), (0, vec![0, 0, 0]));
    fs::remove_dir_all(place.path().join("vault/clusters/b")).unwrap();
    let (code, wrong) = verify("ledger");
    assert_eq!(code, 13);
    assert!(wrong[1] > 4 && (wrong[0], wrong[2]) == (0, 0), "{wrong:?}");
    let named = place.run("verify b --ledger ledger");
    assert_eq!(named.status.code(), Some(13));
    // Once that is accepted, it is told no more.
    place.run("verify --ledger ledger --accept-missing");
    assert_eq!(verify("ledger"), (0, vec![0, 0, 0]));
}
