//! One source, one vault, and what is asked of both.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, CompactionOptions, ConnectOptions};
use revkeep_harness::product::{Agent, Answer, CLUSTER, VaultPlace, run};
use revkeep_harness::truth::{self, Truth};
use revkeep_harness::{Etcd, EtcdOptions};
use serde::Deserialize;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// Flags that make changes durable at once.
pub(crate) const QUICK: [&str; 2] = ["--flush-interval", "100ms"];

/// What `revkeep info` says of the newest timeline.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Info {
    pub(crate) coverage: Vec<Range>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) bases: Vec<Base>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Range {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Gap {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) reason: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Base {
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
}

impl Info {
    /// The ranges that can be restored.
    pub(crate) fn ranges(&self) -> Vec<(i64, i64)> {
        let ranges = self.coverage.iter();
        ranges.map(|range| (range.first, range.last)).collect()
    }

    /// The ranges that are recorded as lost, because the source had compacted them.
    pub(crate) fn lost(&self) -> Vec<(i64, i64)> {
        let compacted = |gap: &&Gap| {
            let reason = gap.reason.as_deref();
            reason == Some("compacted before it was captured")
        };
        let gaps = self.gaps.iter().filter(compacted);
        gaps.map(|gap| (gap.first, gap.last)).collect()
    }
}

/// A folder with a vault in it.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) vault: VaultPlace,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-faults-")?;
        let vault = VaultPlace::folder(&folder.path().join("vault"));
        Ok(Self { folder, vault })
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// An agent; each name has its own state and log, and the log goes on when it is started again.
    pub(crate) fn agent(&self, name: &str, endpoints: &[String], flags: &[&str]) -> Result<Agent> {
        Agent::start(&self.path(name), endpoints, &self.vault, flags)
    }

    /// What `revkeep info` says; nothing before there is a vault.
    pub(crate) async fn info(&self) -> Result<Info> {
        let answer = run("revkeep", &self.vault, &["info", CLUSTER, "-w", "json"]).await?;
        if answer.code == 10 {
            return Ok(Info::default());
        }
        let mut info = answer.json()?;
        let timelines = info.get_mut("timelines").and_then(|all| all.as_array_mut());
        match timelines.and_then(Vec::pop) {
            Some(newest) => Ok(serde_json::from_value(newest)?),
            None => Ok(Info::default()),
        }
    }

    /// Waits until the newest range reaches the revision.
    pub(crate) async fn durable(&self, revision: i64) -> Result<Info> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let info = self.info().await?;
            if info
                .coverage
                .last()
                .is_some_and(|range| range.last >= revision)
            {
                return Ok(info);
            }
            ensure!(
                Instant::now() < deadline,
                "revision {revision} is not durable: {info:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Restores a revision into a new data directory.
    pub(crate) async fn restore(&self, revision: i64, data_dir: &Path) -> Result<Answer> {
        let to = revision.to_string();
        let data_dir = data_dir.to_str().context("a path that is not UTF-8")?;
        let arguments = ["restore", CLUSTER, "-w", "json", "--to-revision", &to];
        let arguments = [&arguments[..], &["--data-dir", data_dir]].concat();
        run("revkeep", &self.vault, &arguments).await
    }

    /// Restores a revision, boots it with the release of `source`, and compares it with what the source said then.
    pub(crate) async fn comes_back(&self, source: &Etcd, truth: &Truth) -> Result<()> {
        self.comes_back_as(source, truth, ConnectOptions::new())
            .await
    }

    /// The same for a source that wants to know who asks.
    pub(crate) async fn comes_back_as(
        &self,
        source: &Etcd,
        truth: &Truth,
        options: ConnectOptions,
    ) -> Result<()> {
        let at = truth.revision;
        let data_dir = self.path(&format!("restored-{at}"));
        let report = self.restore(at, &data_dir).await?.json()?;
        let unknown = report.get("leases_with_unknown_ttl");
        ensure!(
            unknown.is_some_and(|ids| ids.as_array().is_some_and(Vec::is_empty)),
            "restored with guessed TTLs: {report}"
        );
        let etcd = Etcd::start_with(source.version(), EtcdOptions::booting(data_dir)).await?;
        let mut client = etcd.client_with(options).await?;
        let mut hash = client.hash_kv(at).await?;
        if hash.compact_version() < truth.compact_revision {
            // The agent learnt of the compaction only later; the same rows compact to the same result.
            let physical = CompactionOptions::new().with_physical();
            client
                .compact(truth.compact_revision, Some(physical))
                .await?;
            hash = client.hash_kv(at).await?;
        }
        ensure!(
            (hash.compact_version(), hash.hash()) == (truth.compact_revision, truth.hash),
            "HashKV({at}): source {:08x} under {}, restored {:08x} under {}",
            truth.hash,
            truth.compact_revision,
            hash.hash(),
            hash.compact_version()
        );
        let keys = truth::keys_at(&mut client, at).await?;
        ensure!(keys == truth.keys, "the keys at {at} differ");
        let leases = truth::leases_of(&mut client, &keys).await?;
        let expected: &BTreeMap<i64, i64> = &truth.leases;
        ensure!(leases == *expected, "leases {leases:?}, not {expected:?}");
        Ok(())
    }
}

/// Puts so many keys, one a revision, and gives the last revision. A put that an election cut short is made again.
pub(crate) async fn put(client: &mut Client, prefix: &str, keys: usize) -> Result<i64> {
    let mut revision = 0;
    for n in 0..keys {
        let key = format!("{prefix}/{n}");
        let mut tries = 0;
        let answer = loop {
            match client.put(key.as_str(), vec![7; 100], None).await {
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

/// Compacts and waits until it is done.
pub(crate) async fn compact(client: &mut Client, at: i64) -> Result<()> {
    let physical = CompactionOptions::new().with_physical();
    client.compact(at, Some(physical)).await?;
    Ok(())
}
