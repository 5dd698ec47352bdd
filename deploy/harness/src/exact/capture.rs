//! A source under a random workload, captured by real agents.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::product::{Agent, CLUSTER, VaultPlace, run};
use crate::truth::{self, Truth};
use crate::workload::Workload;
use crate::{Etcd, EtcdVersion};

/// Operations before the first base, which so finds a history, compacted and not.
const STEPS_BEFORE: usize = 40;
/// Operations between two compared revisions.
const STEPS_BETWEEN: usize = 8;
/// How long a revision may take to become durable on a busy machine.
const DURABLE_WITHIN: Duration = Duration::from_secs(60);
/// Leases longer than this cannot end while a test runs.
pub(super) const LONG_LEASE_S: i64 = 600;

/// A captured source.
#[derive(Debug)]
pub struct Captured {
    /// Where restored directories go; removed at the end.
    pub folder: TempDir,
    /// What was captured.
    pub vault: VaultPlace,
    /// What the source is.
    pub source: EtcdVersion,
    /// What the source said of itself at many moments, in order of revisions.
    pub points: Vec<Truth>,
    /// The source itself; it still runs, and nobody writes to it any more.
    pub server: Etcd,
}

impl Captured {
    /// Drives a source while `agents` capture it, each at its own pace, until `points` revisions are known; into `bucket`, or a
    /// vault in a folder. Half-way the one-shot command takes another base.
    ///
    /// # Errors
    /// When a server or an agent does not do what it should.
    pub async fn from(
        source: &EtcdVersion,
        bucket: Option<VaultPlace>,
        seed: u64,
        points: usize,
        agents: usize,
    ) -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-exact-")?;
        let vault = bucket.unwrap_or_else(|| VaultPlace::folder(&folder.path().join("vault")));
        let server = Etcd::start(source).await?;
        let mut client = server.client().await?;
        let mut workload = Workload::new(seed);
        for _ in 0..STEPS_BEFORE {
            workload.step(&mut client).await?;
        }
        let mut running = start_agents(folder.path(), &server, &vault, agents)?;
        wait_until_durable(&vault, truth::revision(&mut client).await?).await?;
        let mut truths = vec![Truth::now(&mut client).await?];
        while truths.len() < points {
            for _ in 0..STEPS_BETWEEN {
                workload.step(&mut client).await?;
            }
            if truths.len() == points / 2 {
                second_base(folder.path(), &server, &vault).await?;
            }
            let truth = Truth::now(&mut client).await?;
            leases_are_known(&mut running, &truth).await?;
            truths.push(truth);
            // A compaction now would belong to the same revision as what the source has just said without it.
            client.put("between", "two points", None).await?;
        }
        for agent in running {
            agent.stop().await?;
        }
        Ok(Self {
            folder,
            vault,
            source: source.clone(),
            points: truths,
            server,
        })
    }
}

fn start_agents(
    folder: &Path,
    server: &Etcd,
    vault: &VaultPlace,
    agents: usize,
) -> Result<Vec<Agent>> {
    (0..agents)
        .map(|n| {
            let interval = format!("{}ms", 100 + 130 * n);
            let flags = [
                "--flush-interval",
                &interval,
                "--flush-bytes",
                "256KiB",
                "--debug",
            ];
            let place = folder.join(format!("agent-{n}"));
            Agent::start(&place, &server.endpoints(), vault, &flags)
        })
        .collect()
}

/// An agent asks for a lease's TTL when it first sees its id: not before that may the lease go.
async fn leases_are_known(agents: &mut [Agent], truth: &Truth) -> Result<()> {
    for agent in agents {
        let long = truth
            .leases
            .iter()
            .filter(|(_, ttl_s)| **ttl_s >= LONG_LEASE_S);
        for (lease, _) in long {
            let known = format!("lease is known lease={lease:016x}");
            agent.wait_for_log(&known).await?;
        }
    }
    Ok(())
}

/// Waits until the vault can give back the revision.
async fn wait_until_durable(vault: &VaultPlace, revision: i64) -> Result<()> {
    let deadline = Instant::now() + DURABLE_WITHIN;
    loop {
        let info = run("revkeep", vault, &["info", CLUSTER, "-w", "json"]).await?;
        let maximum = info
            .json()
            .ok()
            .and_then(|info| info.get("maximum_recoverable")?.as_i64());
        if maximum.is_some_and(|maximum| maximum >= revision) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "revision {revision} is not durable: {info:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes another base by the one-shot command, while the agents run.
async fn second_base(folder: &Path, server: &Etcd, vault: &VaultPlace) -> Result<()> {
    let state = folder.join("snapshot-state");
    let arguments = [
        "snapshot",
        "--endpoints",
        &server.endpoint(),
        "--cluster",
        CLUSTER,
        "--state-dir",
        &state.to_string_lossy(),
    ];
    let answer = run("revkeep-agent", vault, &arguments).await?;
    ensure!(
        answer.code == 0,
        "snapshot ended with {}:\n{}",
        answer.code,
        answer.stderr
    );
    Ok(())
}
