//! A folder with a vault, an agent, and its status.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use revkeep_harness::product::{Agent, VaultPlace};
use revkeep_harness::{free_port, http};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) vault: VaultPlace,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-changes-")?;
        let vault = VaultPlace::folder(&folder.path().join("vault"));
        Ok(Self { folder, vault })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        let text = path.to_str().context("a path that is not UTF-8")?;
        Ok(text.to_owned())
    }

    /// An agent that serves its status.
    pub(crate) fn agent(&self, endpoints: &[String], flags: &[&str]) -> Result<Watched> {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let flags = [&["--listen-status", &listen], flags].concat();
        let agent = Agent::start(&self.path("agent"), endpoints, &self.vault, &flags)?;
        Ok(Watched { agent, port })
    }
}

pub(crate) struct Watched {
    pub(crate) agent: Agent,
    pub(crate) port: u16,
}

impl Watched {
    /// A metric; `None` while it is not there.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = http::request("GET", self.port, "/metrics").await.ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until a metric is as it should be.
    pub(crate) async fn until(&mut self, name: &str, is: impl Fn(f64) -> bool) -> Result<f64> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let value = self.metric(name).await;
            if let Some(value) = value.filter(|value| is(*value)) {
                return Ok(value);
            }
            self.agent.alive()?;
            ensure!(
                Instant::now() < deadline,
                "{name} stays at {value:?}:\n{}",
                self.agent.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a metric is a whole number.
    pub(crate) async fn until_is(&mut self, name: &str, wanted: i32) -> Result<f64> {
        self.until(name, |value| is(value, wanted)).await
    }

    /// Puts a key, and waits until it is durable.
    pub(crate) async fn keeps(&mut self, client: &mut Client) -> Result<()> {
        let put = client.put("key", "value", None).await?;
        let revision = put.header().context("no header")?.revision();
        #[expect(clippy::cast_precision_loss, reason = "revisions of a test are small")]
        let revision = revision as f64;
        self.until("revkeep_durable_revision", |durable| durable >= revision)
            .await?;
        Ok(())
    }

    /// How often a text stands in the log.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.agent.log().matches(text).count()
    }
}

/// Whether a metric is this whole number.
pub(crate) fn is(value: f64, wanted: i32) -> bool {
    (value - f64::from(wanted)).abs() < 0.5
}
