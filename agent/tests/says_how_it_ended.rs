//! Exit codes that scripts rely on, and a one-shot command that can be stopped. No server is needed.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revkeep_harness::product::{Answer, VaultPlace, run};
use revkeep_harness::{Process, binary};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// `snapshot` of a source that takes connections and never answers.
fn arguments<'a>(endpoint: &'a str, state: &'a str) -> Vec<&'a str> {
    let patience = ["--dial-timeout", "1h", "--command-timeout", "1h"];
    let route = ["snapshot", "--cluster", "test", "--endpoints", endpoint];
    [&route[..], &["--state-dir", state], &patience].concat()
}

async fn answer(vault: &Path, arguments: &[&str]) -> Result<Answer> {
    run("revkeep-agent", &VaultPlace::folder(vault), arguments).await
}

#[tokio::test]
async fn what_is_written_wrongly_is_invalid_input() -> Result<()> {
    let folder = TempDir::with_prefix("revkeep-ended-")?;
    let vault = folder.path().join("vault");
    let wrong: [&[&str]; 4] = [
        &["run", "--cluster", "test", "--no-such-flag"],
        &["run", "--cluster", "test", "--flush-interval", "1ms"],
        &["run", "--cluster", "test", "--flush-bytes", "1GiB"],
        &["snapshot", "--cluster", "a/b"],
    ];
    for arguments in wrong {
        let answer = answer(&vault, arguments).await?;
        ensure!(answer.code == 3, "{arguments:?}: {answer:?}");
    }
    let place = VaultPlace {
        url: "ftp://host/x".to_owned(),
        environment: Vec::new(),
    };
    let answer = run("revkeep-agent", &place, &["snapshot", "--cluster", "test"]).await?;
    ensure!(answer.code == 3, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_snapshot_is_interrupted_and_shares_its_state_with_nobody() -> Result<()> {
    let folder = TempDir::with_prefix("revkeep-ended-")?;
    let vault = folder.path().join("vault");
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", silent.local_addr()?);
    let state = folder.path().join("state").display().to_string();
    let url = VaultPlace::folder(&vault).url;
    let hangs = [&arguments(&endpoint, &state)[..], &["--vault", &url]].concat();
    let none: [(&str, &str); 0] = [];
    let log = folder.path().join("log");
    let mut process = Process::spawn(&binary("revkeep-agent")?, hangs, none, &log)?;
    let deadline = Instant::now() + WITHIN;
    while !vault.join("FORMAT").exists() {
        ensure!(Instant::now() < deadline, "{}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As a running agent keeps a snapshot there while it is uploaded.
    let spooled = Path::new(&state).join("revkeep-snapshot-x.db");
    std::fs::write(&spooled, "rows")?;
    let second = answer(&vault, &arguments(&endpoint, &state)).await?;
    ensure!(
        second.code == 3 && second.stderr.contains("--state-dir"),
        "{second:?}"
    );
    ensure!(spooled.exists(), "another agent's snapshot was removed");

    process.terminate()?;
    let ended = process.wait(WITHIN).await?;
    ensure!(ended.code() == Some(5), "{ended}: {}", process.log());
    Ok(())
}
