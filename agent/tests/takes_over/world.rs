//! Three members, three agents, one vault.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::Client;
use revkeep_harness::product::{Agent, CLUSTER, VaultPlace, run};
use revkeep_harness::truth::{Truth, keys_at};
use revkeep_harness::{Etcd, EtcdCluster, EtcdOptions, EtcdVersion, free_port, http};
use serde_json::Value;
use tempfile::TempDir;

use crate::rows::{Held, compare, rows_of_source, timeline};

/// How long anything may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// Changes go up at once, and bases only where they must.
pub(crate) const QUICK: [&str; 4] = [
    "--flush-interval",
    "200ms",
    "--snapshot-schedule",
    "0 0 1 1 *",
];

/// An agent and where its status is.
pub(crate) struct Watched {
    pub(crate) agent: Agent,
    port: u16,
}

impl Watched {
    /// A metric; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let (_, body) = http::request("GET", self.port, "/metrics").await?;
        let line = body
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.map_or(Ok(0.0), str::parse)?)
    }

    /// Whether it uploads.
    pub(crate) async fn uploads(&self) -> bool {
        self.metric("revkeep_uploads_for_all")
            .await
            .is_ok_and(|is| is > 0.5)
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) vault: VaultPlace,
    pub(crate) cluster: EtcdCluster,
    pub(crate) client: Client,
    pub(crate) agents: BTreeMap<usize, Watched>,
}

impl World {
    pub(crate) async fn new(version: &EtcdVersion) -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-takes-over-")?;
        let vault = VaultPlace::folder(&folder.path().join("vault"));
        let cluster = Etcd::start_cluster(version, 3).await?;
        let client = cluster.client().await?;
        Ok(Self {
            folder,
            vault,
            cluster,
            client,
            agents: BTreeMap::new(),
        })
    }

    /// The agent beside a member, which knows no other endpoint.
    pub(crate) fn start(&mut self, number: usize, vault: &VaultPlace) -> Result<()> {
        let endpoint = self.cluster.members[number].endpoint();
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let flags = [&QUICK[..], &["--listen-status", &listen]].concat();
        let folder = self.folder.path().join(format!("agent-{number}"));
        let agent = Agent::start(&folder, &[endpoint], vault, &flags)?;
        self.agents.insert(number, Watched { agent, port });
        Ok(())
    }

    /// Starts all, and waits until one uploads and the others follow it.
    pub(crate) async fn start_all(&mut self) -> Result<usize> {
        for number in 0..3 {
            let vault = self.vault.clone();
            self.start(number, &vault)?;
        }
        let uploader = self.uploader().await?;
        for (number, one) in &mut self.agents {
            if *number != uploader {
                one.agent.wait_for_log("this one follows").await?;
            }
        }
        // What they were started with is durable, and they are known to follow.
        let at = self.put("settling", 3).await?;
        self.durable(at).await?;
        Ok(uploader)
    }

    /// The agent that uploads, once that is one alone.
    pub(crate) async fn uploader(&self) -> Result<usize> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let mut uploads = Vec::new();
            for (number, agent) in &self.agents {
                if agent.uploads().await {
                    uploads.push(*number);
                }
            }
            if let [uploader] = uploads[..] {
                return Ok(uploader);
            }
            ensure!(Instant::now() < deadline, "{uploads:?} upload");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Puts so many keys, one a revision, and gives the last revision.
    pub(crate) async fn put(&mut self, prefix: &str, keys: usize) -> Result<i64> {
        let mut revision = 0;
        for n in 0..keys {
            let mut tries = 0;
            let answer = loop {
                match self.client.put(format!("{prefix}/{n}"), prefix, None).await {
                    Err(error) if tries == 10 => return Err(error.into()),
                    Err(_election) => tries += 1,
                    Ok(answer) => break answer,
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            revision = answer.header().context("no header")?.revision();
        }
        Ok(revision)
    }

    pub(crate) async fn info(&self) -> Result<Value> {
        let answer = run("revkeep", &self.vault, &["info", CLUSTER, "-w", "json"]).await?;
        if answer.code == 10 {
            return Ok(Value::Null);
        }
        answer.json()
    }

    /// Waits until the revision can be restored; gives how long that took.
    pub(crate) async fn durable(&self, revision: i64) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let info = self.info().await?;
            let newest = info.get("maximum_recoverable").and_then(Value::as_i64);
            if newest >= Some(revision) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > WITHIN {
                let logs = self.agents.values().map(|one| one.agent.log());
                bail!(
                    "{revision} is not durable: {info}\n{}",
                    logs.collect::<Vec<_>>().join("\n---\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends what runs; everything is there, once, without a gap, and comes back exactly.
    pub(crate) async fn exact(mut self) -> Result<()> {
        let truth = Truth::now(&mut self.client).await?;
        self.durable(truth.revision).await?;
        for (_, one) in std::mem::take(&mut self.agents) {
            one.agent.stop().await?;
        }
        let info = self.info().await?;
        let lines = info.get("timelines").and_then(Value::as_array);
        let [line] = lines.map(Vec::as_slice).unwrap_or_default() else {
            bail!("not one timeline: {info}");
        };
        ensure!(
            line.get("gaps") == Some(&Value::Array(Vec::new())),
            "{info}"
        );
        let ranges = line.get("coverage").and_then(Value::as_array);
        ensure!(ranges.is_some_and(|ranges| ranges.len() == 1), "{info}");

        let version = self.cluster.members[0].version().clone();
        let data = self.folder.path().join("restored");
        let to = truth.revision.to_string();
        let arguments = [
            "restore",
            CLUSTER,
            "--verify-overlaps",
            "--to-revision",
            &to,
        ];
        let text = data.to_str().context("a path that is not UTF-8")?;
        let arguments = [&arguments[..], &["--data-dir", text]].concat();
        let answer = run("revkeep", &self.vault, &arguments).await?;
        ensure!(answer.code == 0, "{answer:?}");
        let restored = Etcd::start_with(&version, EtcdOptions::booting(&data)).await?;
        let keys = keys_at(&mut restored.client().await?, truth.revision).await?;
        ensure!(keys == truth.keys, "the restored keys differ");

        if !self.vault.environment.is_empty() {
            return Ok(());
        }
        let timeline = timeline(&self.vault).await?.context("no timeline")?;
        // Reading fails where two objects disagree.
        let held = Held::all(&timeline, &timeline.inventory().await?).await?;
        self.cluster.members[0].stop().await?;
        let mut source = rows_of_source(&self.cluster.members[0].db_file())?;
        source.retain(|key, _| key.main.0 <= truth.revision);
        compare(&source, &held.rows)
    }
}
