//! The agents: real processes, each with a state directory that outlives its lives.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use revkeep_harness::product::{Agent, VaultPlace};
use revkeep_harness::{free_port, http};
use revkeep_schemas::Revision;
use revkeep_schemas::agent_api::SnapshotRequest;
use revkeep_schemas::agent_api::agent_client::AgentClient;

use crate::places::Place;
use crate::promises::Ranges;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// Well; not everything was stored in time; the source cannot be reached; an object is damaged.
const EXPECTED: [i32; 4] = [0, 1, 2, 13];
/// Its port is taken, or another setting is wrong.
const NO_PORT: i32 = 3;
const FLAGS: [&str; 12] = [
    "--flush-interval",
    "100ms",
    "--upload-deadline",
    "1s",
    "--grace",
    "3s",
    // Bases only where they are needed, and when one is asked for.
    "--snapshot-schedule",
    "0 0 1 1 *",
    "--log-level",
    "debug",
    "--spool-limit",
    "300KiB",
];
/// A life that ends in no other way than it was asked to.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// One agent, through all its lives.
pub(crate) struct Lives {
    home: PathBuf,
    port: u16,
    endpoints: Vec<String>,
    agent: Option<(Agent, Option<Place>)>,
    /// Lives so far.
    pub(crate) count: u32,
}

/// How a life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the place where it was to.
    At(Place),
    /// With an exit code.
    Exit(i32),
}

impl Lives {
    /// An agent that has not lived yet.
    pub(crate) fn new(home: &Path, port: u16, mut endpoints: Vec<String>, number: usize) -> Self {
        let count = endpoints.len().max(1);
        endpoints.rotate_left(number % count);
        Self {
            home: home.join(format!("agent-{number}")),
            port,
            endpoints,
            agent: None,
            count: 0,
        }
    }

    /// The file that fills its disk.
    fn disk_full(&self) -> PathBuf {
        self.home.join("disk-is-full")
    }

    /// Fills its disk, or makes room.
    pub(crate) fn fill_disk(&self, full: bool) -> Result<()> {
        std::fs::create_dir_all(&self.home)?;
        if full {
            std::fs::write(self.disk_full(), "")?;
        } else if self.disk_full().exists() {
            std::fs::remove_file(self.disk_full())?;
        }
        Ok(())
    }

    /// What is whole in its spool, by timeline.
    pub(crate) fn spooled(&self) -> Result<Ranges> {
        let mut found = Ranges::new();
        let mut folders = vec![self.home.join("state").join("segments")];
        while let Some(folder) = folders.pop() {
            if !folder.is_dir() || folder.ends_with("set-aside") {
                continue;
            }
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(name) = name.strip_suffix(".segment") {
                    let mut parts = name.split('-').map(str::parse::<i64>);
                    let (Some(Ok(first)), Some(Ok(last))) = (parts.next(), parts.next()) else {
                        continue;
                    };
                    let timeline = folder.file_name().unwrap_or_default().to_string_lossy();
                    let ranges = found.entry(timeline.into_owned()).or_default();
                    ranges.push((Revision(first), Revision(last)));
                }
            }
        }
        Ok(found)
    }

    /// Whether it knows what the vault holds when the store is away.
    pub(crate) fn remembers(&self) -> bool {
        self.home.join("state").join("remembered.json").exists()
    }

    /// Waits until it does.
    pub(crate) async fn comes_to_remember(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.remembers() {
            ensure!(
                Instant::now() < deadline,
                "it remembers nothing:\n{}",
                self.log_tail(30)
            );
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Begins a life, which may end at a place that is passed for the so-manieth time.
    pub(crate) fn begin(&mut self, vault: &VaultPlace, at: Option<(Place, u32)>) -> Result<()> {
        ensure!(self.agent.is_none(), "it lives");
        let mut environment = vec![
            ("REVKEEP_IMPATIENT", "1".to_owned()),
            ("REVKEEP_DISK_FULL", self.disk_full().display().to_string()),
        ];
        if let Some((place, often)) = at {
            environment.push(("REVKEEP_FAIL_AT", format!("{place}:{often}")));
        }
        let listen = format!("127.0.0.1:{}", self.port);
        let flags = [&FLAGS[..], &["--listen-status", &listen]].concat();
        let agent = Agent::start_with(&self.home, &self.endpoints, vault, &flags, &environment)?;
        self.agent = Some((agent, at.map(|(place, _)| place)));
        self.count += 1;
        Ok(())
    }

    /// Looks whether it has ended by itself, and says how.
    pub(crate) fn look(&mut self) -> Result<Option<Ended>> {
        let Some((agent, place)) = &mut self.agent else {
            return Ok(None);
        };
        let Some(status) = agent.ended()? else {
            return Ok(None);
        };
        let ended = judge(agent, *place, status)?;
        self.agent = None;
        if ended == Ended::Exit(NO_PORT) {
            self.port = free_port()?;
        }
        Ok(Some(ended))
    }

    /// SIGKILL; how it had ended, where it did so by itself before that.
    pub(crate) fn kill(&mut self) -> Result<Option<Ended>> {
        let Some((mut agent, place)) = self.agent.take() else {
            return Ok(None);
        };
        let status = agent.crash()?;
        if status.signal() == Some(SIGKILL) {
            return Ok(None);
        }
        judge(&agent, place, status).map(Some)
    }

    /// SIGTERM, and how it ended then.
    pub(crate) async fn stop(&mut self) -> Result<Option<Ended>> {
        let Some((agent, place)) = &mut self.agent else {
            return Ok(None);
        };
        let stopping = agent.terminate();
        let status = tokio::time::timeout(STOPPED_WITHIN, stopping)
            .await
            .context("an agent did not end after SIGTERM")??;
        let ended = judge(agent, *place, status)?;
        self.agent = None;
        Ok(Some(ended))
    }

    /// What it calls durable, and of which timeline; `None` when it does not answer, or there is no base yet.
    pub(crate) async fn durable(&self) -> Option<(String, Revision)> {
        self.agent.as_ref()?;
        let (code, text) = http::request("GET", self.port, "/metrics").await.ok()?;
        let line = text
            .lines()
            .find(|line| line.starts_with("revkeep_durable_revision"))?;
        let number: i64 = line.split_whitespace().last()?.parse().ok()?;
        let labels = text
            .lines()
            .find(|line| line.starts_with("revkeep_timeline_info"))?;
        let (_, timeline) = labels.split_once("timeline=\"")?;
        let (timeline, _) = timeline.split_once('"')?;
        (code == 200 && number > 0).then(|| (timeline.to_owned(), Revision(number)))
    }

    /// Asks for a base, and does not wait for it.
    pub(crate) fn ask_for_a_base(&self) {
        let url = format!("http://127.0.0.1:{}", self.port);
        tokio::spawn(async move {
            // It may be dead before it answers: others look at what came of it.
            for _ in 0..50 {
                if let Ok(mut client) = AgentClient::connect(url.clone()).await
                    && client.snapshot(SnapshotRequest {}).await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(POLL * 5).await;
            }
        });
    }

    /// Waits until it calls the revision durable, of whichever timeline.
    pub(crate) async fn reaches(&mut self, revision: Revision, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let durable = self.durable().await;
            if durable.as_ref().is_some_and(|(_, at)| *at >= revision) {
                return Ok(());
            }
            if let Some(ended) = self.look()? {
                bail!("the last agent {ended:?} before it had stored {revision}");
            }
            ensure!(
                Instant::now() < deadline,
                "the last agent stands at {durable:?}, not {revision}:\n{}",
                self.log_tail(30)
            );
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.home.join("agent.log")).unwrap_or_default();
        let skipped = log.lines().count().saturating_sub(lines);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

/// An agent may give up with an error that says so, and is started again; it must not panic, nor die elsewhere.
fn judge(agent: &Agent, place: Option<Place>, status: ExitStatus) -> Result<Ended> {
    let tail = || agent.log_tail(30);
    ensure!(
        !agent.log().contains("panicked at"),
        "an agent panicked:\n{}",
        tail()
    );
    match (status.code(), status.signal(), place) {
        // It was asked to end before it could listen.
        (None, Some(SIGTERM), _) => Ok(Ended::Exit(SIGTERM)),
        (Some(code), ..) if EXPECTED.contains(&code) => Ok(Ended::Exit(code)),
        // Another program on this machine took its port meanwhile.
        (Some(NO_PORT), ..) if agent.log_tail(1).contains("Address already in use") => {
            Ok(Ended::Exit(NO_PORT))
        }
        (None, Some(SIGABRT), Some(place)) => {
            let said = format!("fail point {place}:");
            ensure!(agent.log().contains(&said), "aborted:\n{}", tail());
            Ok(Ended::At(place))
        }
        _ => bail!("an agent ended with {status}:\n{}", tail()),
    }
}
