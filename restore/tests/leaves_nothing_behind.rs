//! Whatever ends a restore, nothing that looks complete is at the target, and the next one needs no cleaning up.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use revkeep_harness::Process;
use tempfile::TempDir;
use world::{REVKEEP, large_vault, names, partial, revkeep, start_restore, url, vault};

const PATIENCE: Duration = Duration::from_secs(120);

fn large() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    large_vault(place.path());
    place
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until the restore into `place/data` works on its db file.
fn wait_until_writing(place: &Path, restore: &mut Process) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let writing = partial(place, "data").iter().any(|partial| {
            let db = fs::metadata(partial.join("member/snap/db"));
            db.is_ok_and(|db| db.len() > 0)
        });
        if writing {
            return;
        }
        assert!(restore.ended().unwrap().is_none(), "{}", restore.log());
        assert!(Instant::now() < deadline, "it never wrote");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn a_signal_ends_it_with_code_5_and_nothing_stays() {
    let (place, logs) = (large(), tempfile::tempdir().unwrap());
    let place = place.path();
    for signal in ["INT", "TERM"] {
        let data = place.join("data");
        let flags = ["--data-dir", data.to_str().unwrap()];
        let mut restore = start_restore(place, logs.path(), &flags);
        wait_until_writing(place, &mut restore);
        restore.signal(signal).unwrap();
        let status = restore.wait(PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(5), "{signal}: {}", restore.log());
        assert!(restore.log().contains("interrupted"), "{}", restore.log());
        assert_eq!(names(place), ["vault"], "{signal}");
    }
}

#[tokio::test]
async fn a_signal_leaves_no_keys_behind() {
    let (place, logs) = (large(), tempfile::tempdir().unwrap());
    let place = place.path();
    for signal in ["INT", "TERM"] {
        let files = place.join("files");
        let flags = ["--files", files.to_str().unwrap(), "--prefix", ""];
        let mut restore = start_restore(place, logs.path(), &flags);
        let deadline = Instant::now() + PATIENCE;
        while partial(place, "files")
            .iter()
            .all(|there| names(there).len() < 2)
        {
            assert!(restore.ended().unwrap().is_none(), "{}", restore.log());
            assert!(Instant::now() < deadline, "it never wrote");
            std::thread::sleep(Duration::from_millis(1));
        }
        restore.signal(signal).unwrap();
        let status = restore.wait(PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(5), "{signal}: {}", restore.log());
        assert_eq!(names(place), ["vault"], "{signal}");
    }
}

/// Whether a process has a handler for SIGINT, as Linux tells.
fn listens_to_interrupts(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0
}

#[tokio::test]
async fn an_import_waits_for_no_file_once_a_signal_comes() {
    let (place, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Nobody ever writes into it, so that opening it never ends.
    let pipe = place.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let arguments = ["import", pipe.to_str().unwrap(), "--cluster", "c"];
    let environment = [("REVKEEP_VAULT", url(place.path()))];
    let log = logs.path().join("log");
    let mut import = Process::spawn(Path::new(REVKEEP), arguments, environment, &log).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !listens_to_interrupts(import.pid()) {
        assert!(Instant::now() < deadline, "it never listened to signals");
        std::thread::sleep(Duration::from_millis(5));
    }
    import.signal("INT").unwrap();
    let status = import.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(5), "{}", import.log());
}

#[tokio::test]
async fn after_a_kill_the_next_run_cleans_up_and_succeeds() {
    let (place, logs) = (large(), tempfile::tempdir().unwrap());
    let place = place.path();
    let (data, log) = (place.join("data"), place.join("log"));
    let flags = ["--data-dir", data.to_str().unwrap()];
    let flags = [&flags[..], &["--wal-dir", log.to_str().unwrap()]].concat();
    let mut restore = start_restore(place, logs.path(), &flags);
    wait_until_writing(place, &mut restore);
    // Meanwhile nobody else may work on the same target.
    let second = revkeep(place, "restore c --latest --data-dir data");
    assert_eq!(second.status.code(), Some(16), "{}", stderr(&second));
    assert!(stderr(&second).contains("another restore"));
    restore.kill().unwrap();
    assert!(!data.exists() && !log.exists());
    let left = [partial(place, "data"), partial(place, "log")].concat();
    assert_eq!(left.len(), 2);

    let again = revkeep(
        place,
        "restore c --latest --data-dir data --wal-dir log -w json",
    );
    assert!(again.status.success(), "{}", stderr(&again));
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    for left in left {
        let name = left.file_name().unwrap().to_str().unwrap();
        assert!(report["notes"].to_string().contains(name), "{report}");
    }
    assert_eq!(names(place), ["data", "log", "vault"]);
    assert_eq!(names(&data.join("member")), ["snap"]);
    assert_eq!(names(&log).len(), 1);
}

/// Runs it under a limit of the size of files, which fails as a full disk does.
fn on_a_full_disk(place: &Path, arguments: &str) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f 4096; exec {REVKEEP} {arguments}");
    Command::new("sh")
        .args(["-c", &script])
        .env("REVKEEP_VAULT", url(place))
        .current_dir(place)
        .output()
        .unwrap()
}

#[test]
fn a_full_disk_is_named_with_the_way_out() {
    let place = large();
    let place = place.path();
    for target in ["--data-dir new/data", "--snapshot-file new/file.db"] {
        let output = on_a_full_disk(place, &format!("restore c --latest {target}"));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("db: ") && said.contains("revkeep-partial"),
            "{said}"
        );
        assert!(said.contains("free space"), "{said}");
        assert_eq!(names(place), ["vault"], "not even the new directory above");
    }
}

#[test]
fn a_place_where_nobody_may_write_is_named() {
    let place = tempfile::tempdir().unwrap();
    vault(place.path(), 9, 10);
    // Not even root may make a directory there.
    let output = revkeep(place.path(), "restore c --latest --data-dir /sys/restored");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("/sys") && said.contains("may write"),
        "{said}"
    );
}

#[test]
fn a_log_directory_of_its_own_is_held_to_the_same() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    vault(place, 9, 10);
    fs::create_dir(place.join("full")).unwrap();
    fs::write(place.join("full/mine"), b"mine").unwrap();
    for (arguments, code) in [
        ("--data-dir d --wal-dir full", 16),
        ("--data-dir d --wal-dir d/wal", 3),
        ("--data-dir d/e --wal-dir d", 3),
        ("--data-dir ./d --wal-dir d/wal", 3),
        ("--data-dir d --wal-dir d", 3),
        ("--snapshot-file f --wal-dir w", 3),
    ] {
        let output = revkeep(place, &format!("restore c --latest {arguments}"));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments}: {}",
            stderr(&output)
        );
        assert_eq!(names(place), ["full", "vault"], "{arguments}");
    }
    let output = revkeep(place, "restore c --latest --data-dir d --wal-dir w/al");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(&place.join("d/member")), ["snap"]);
    assert_eq!(names(&place.join("w/al")).len(), 1);
}

#[test]
fn progress_is_for_a_terminal_only() {
    let place = large();
    let place = place.path();
    let plain = revkeep(place, "restore c --latest --data-dir plain");
    assert!(plain.status.success());
    assert_eq!(stderr(&plain), "", "no terminal, no bar");
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let seen = Command::new("python3")
        .args([
            "-c",
            script,
            REVKEEP,
            "restore",
            "c",
            "--latest",
            "--data-dir",
            "seen",
        ])
        .env("REVKEEP_VAULT", url(place))
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success(), "{said} {}", stderr(&seen));
    for part in ["ETA", "MiB/s", "HashKV"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_restore_that_nobody_listens_to_has_succeeded() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    vault(place, 30, 10);
    let mut restore = Command::new(REVKEEP)
        .args(["restore", "c", "--latest", "--data-dir", "d"])
        .env("REVKEEP_VAULT", url(place))
        .current_dir(place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(restore.stdout.take());
    let ended = restore.wait().unwrap();
    assert_eq!(ended.code(), Some(0), "as its target says");
    assert_eq!(names(place), ["d", "vault"]);
}

#[test]
fn programs_get_json_of_results_and_of_every_error() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    vault(place, 30, 10);
    let output = revkeep(place, "restore c --to-revision 30 --data-dir d -w json");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["revision"], 30);
    assert_eq!(report["target"], "d");
    assert_eq!(report["restored_rows"], 29);
    assert_eq!(
        report["compared_with"][0]["source"],
        report["hashkv"]["hash"]
    );
    assert!(report["seconds"]["write"].is_f64() && report["notes"].is_array());
    assert_eq!(report["overlaps"]["segments"], 0);
    assert!(report["next"].as_str().unwrap().contains("--data-dir d"));

    let plan = revkeep(place, "restore c --latest --dry-run -w json");
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    let notes = plan["notes"].as_array().unwrap();
    let said = notes.first().and_then(serde_json::Value::as_str);
    assert!(
        notes.len() == 1 && said.unwrap().contains("example"),
        "{plan}"
    );
    assert_eq!((&plan["revision"], &plan["rows"]), (&30.into(), &29.into()));

    for (arguments, code, kind) in [
        (
            "restore c --to-revision 31 --data-dir e -w json",
            11,
            "outside-coverage",
        ),
        ("restore x --latest --data-dir e -w json", 10, "not-found"),
        ("restore c --latest --data-dir d -w json", 16, "refused"),
        ("restore c --latest -w json", 3, "invalid"),
        // Those that the parser of the command line finds.
        (
            "restore c --latest --colour red --write-out json",
            3,
            "invalid",
        ),
        (
            "restore c --latest --colour red --write-out=json",
            3,
            "invalid",
        ),
        ("restore c -wjson", 3, "invalid"),
    ] {
        let output = revkeep(place, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["exit_code"], code, "{arguments}");
        assert_eq!(error["kind"], kind, "{arguments}");
        assert!(!error["error"].as_str().unwrap().is_empty());
        assert!(output.stdout.is_empty(), "{arguments}");
    }
    let output = revkeep(place, "restore c --to-revision 31 --data-dir e -w json");
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["nearest"]["below"], 30);
    assert_eq!(names(place), ["d", "vault"]);
}
