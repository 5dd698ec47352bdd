//! The promise of `revkeep demo`: it ends well, proves what it says, and leaves no process and no folder behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revkeep_harness::{EtcdVersion, Process, base_etcd, binary};
use tempfile::TempDir;

/// A busy machine takes this long; an idle one a few seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(240);
/// Enough for all kinds of writes.
const FEW: &str = "--objects=300";
/// What the demo says once a restored cluster is what the source was.
const PROVED: &str = "Equal: every key, value, revision, version and lease is what it was.";

/// A demo with a temporary directory of its own, in which it makes its folder.
struct Demo {
    place: TempDir,
    process: Process,
}

impl Demo {
    fn start(etcd: Option<&EtcdVersion>, flags: &[&str]) -> Result<Self> {
        // The demo starts these from beside its own binary.
        binary("revkeep-agent")?;
        binary("revkeep-store")?;
        let place = TempDir::with_prefix("revkeep-demo-test-")?;
        let temporary = place.path().join("tmp");
        std::fs::create_dir(&temporary)?;
        let mut arguments = vec!["demo".to_owned()];
        if let Some(etcd) = etcd {
            let program = etcd.program("etcd");
            let folder = program.parent().context("a program lies in a folder")?;
            arguments.extend([
                "--etcd".to_owned(),
                format!("--etcd-bin={}", folder.display()),
            ]);
        }
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        let process = Process::spawn(
            &binary("revkeep")?,
            arguments,
            [("TMPDIR", &temporary)],
            &place.path().join("demo.log"),
        )?;
        Ok(Self { place, process })
    }

    /// Its exit code; fails if it left anything.
    async fn ended(&mut self) -> Result<Option<i32>> {
        let status = self.process.wait(ENDS_WITHIN).await?;
        let temporary = self.place.path().join("tmp");
        let left: Vec<_> = std::fs::read_dir(&temporary)?.flatten().collect();
        ensure!(
            left.is_empty(),
            "left {left:?} behind:\n{}",
            self.process.log()
        );
        let running = mentioned_by(&temporary)?;
        ensure!(
            running.is_empty(),
            "still running: {running:?}:\n{}",
            self.process.log()
        );
        Ok(status.code())
    }

    async fn tells_and_proves(mut self, members: &str) -> Result<()> {
        let code = self.ended().await?;
        let told = self.process.log();
        ensure!(code == Some(0), "ended with {code:?}:\n{told}");
        for part in [members, "[8/8]", PROVED, "Measured"] {
            ensure!(told.contains(part), "does not say {part:?}:\n{told}");
        }
        ensure!(!told.contains('\x1b'), "colours in a log:\n{told}");
        Ok(())
    }

    /// SIGINT once it says `moment`: it ends with the code of an interruption.
    async fn interrupted_at(mut self, moment: &str, code: i32) -> Result<()> {
        self.process.wait_for_log(moment, ENDS_WITHIN).await?;
        let running = mentioned_by(&self.place.path().join("tmp"))?;
        ensure!(
            running.len() > 2,
            "only {running:?} runs, so that its end would prove nothing"
        );
        let id = self.process.pid().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()?;
        ensure!(sent.success(), "cannot interrupt the demo");
        let began = Instant::now();
        let ended = self.ended().await?;
        ensure!(
            ended == Some(code),
            "ended with {ended:?}, not {code}, after {:?}:\n{}",
            began.elapsed(),
            self.process.log()
        );
        Ok(())
    }
}

/// The ids of the processes whose command line names the folder.
fn mentioned_by(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.to_str().context("a path that is not UTF-8")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Not a process, or one that has ended meanwhile.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        if String::from_utf8_lossy(&line).contains(folder) {
            found.push(name);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn with_the_store() -> Result<()> {
    Demo::start(None, &[FEW])?
        .tells_and_proves("Three members of revkeep-store")
        .await
}

#[tokio::test]
async fn with_etcd() -> Result<()> {
    let Some(etcd) = base_etcd() else {
        return Ok(());
    };
    Demo::start(Some(&etcd), &[FEW])?
        .tells_and_proves("Three members of etcd")
        .await
}

#[tokio::test]
async fn interrupted_in_the_middle_it_leaves_nothing() -> Result<()> {
    Demo::start(None, &["--objects=100000"])?
        .interrupted_at("[3/8]", 5)
        .await
}

#[tokio::test]
async fn kept_it_runs_until_it_is_interrupted() -> Result<()> {
    Demo::start(None, &[FEW, "--keep"])?
        .interrupted_at("Ctrl-C here ends everything", 0)
        .await
}
