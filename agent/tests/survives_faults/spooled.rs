//! The object store goes away for longer than memory would last, within what the spool holds: nothing is lost, whatever
//! the source compacts meanwhile and however often the agent dies.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use revkeep_harness::product::{Agent, VaultPlace};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, EtcdOptions, Gate, SeaweedFs, base_etcd};

use crate::store_away::{cluster, honest};
use crate::world::{WITHIN, World, compact, put};

/// Values that fill memory several times over.
const VALUE_BYTES: usize = 256 << 10;
const VALUES: usize = 400;
/// What an agent may have in memory at most.
const RESIDENT_KIB: u64 = 64 << 10;
const FLAGS: [&str; 4] = [
    "--flush-interval",
    "200ms",
    // Bases only where they are needed.
    "--snapshot-schedule",
    "0 0 1 1 *",
];

/// An S3 server behind a gate, a source, and an agent between them.
struct Outage {
    world: World,
    s3: SeaweedFs,
    gate: Gate,
    gated: VaultPlace,
    etcd: Etcd,
}

impl Outage {
    /// `None` where a server is missing.
    async fn prepare(prefix: &str) -> Result<Option<Self>> {
        let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
            return Ok(None);
        };
        let gate = Gate::before(s3.port()).await?;
        let mut world = World::new()?;
        world.vault = VaultPlace::bucket(&s3, prefix);
        let gated = VaultPlace {
            url: s3.url_by(gate.port(), prefix),
            ..world.vault.clone()
        };
        let options = EtcdOptions::default().flag("--unsafe-no-fsync");
        let etcd = Etcd::start_with(&version, options).await?;
        Ok(Some(Self {
            world,
            s3,
            gate,
            gated,
            etcd,
        }))
    }

    fn agent(&self, flags: &[&str]) -> Result<Agent> {
        let flags = [&FLAGS[..], flags].concat();
        let home = self.world.path("agent");
        Agent::start(&home, &self.etcd.endpoints(), &self.gated, &flags)
    }

    /// Waits until the spool holds a segment with the revision.
    async fn spooled(&self, agent: &mut Agent, revision: i64) -> Result<()> {
        let folder = self.world.path("agent").join("state/segments");
        let deadline = Instant::now() + WITHIN;
        while newest(&folder) < Some(revision) {
            agent.alive()?;
            ensure!(
                Instant::now() < deadline,
                "revision {revision} is not spooled: {:?}\n{}",
                newest(&folder),
                agent.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits until the agent remembers that the vault reaches the revision.
    async fn remembered(&self, revision: i64) -> Result<()> {
        let file = self.world.path("agent").join("state/remembered.json");
        let deadline = Instant::now() + WITHIN;
        loop {
            let text = std::fs::read(&file).unwrap_or_default();
            let read: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            let durable = read.get("durable").and_then(serde_json::Value::as_i64);
            if durable >= Some(revision) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{read}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// After the outage: one range without a gap, the one base that there was before, and every moment comes back.
    async fn nothing_is_lost(&self, truths: &[&Truth]) -> Result<()> {
        let last = truths.last().context("no truth")?.revision;
        let info = self.world.durable(last).await?;
        ensure!(
            info.ranges() == [(1, last)] && info.gaps.is_empty() && info.bases.len() == 1,
            "{info:?}"
        );
        for truth in truths {
            self.world.comes_back(&self.etcd, truth).await?;
        }
        Ok(())
    }
}

/// The newest revision in the files of a spool.
fn newest(folder: &Path) -> Option<i64> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let here = if path.is_dir() {
            self::newest(&path)
        } else if name.ends_with(".segment") {
            name.split('-').nth(1).and_then(|last| last.parse().ok())
        } else {
            None
        };
        newest = newest.max(here);
    }
    newest
}

async fn fill(client: &mut Client, values: usize) -> Result<i64> {
    let mut revision = 0;
    for n in 0..values {
        let mut value = vec![0; VALUE_BYTES];
        rand::fill(&mut value[..]);
        let answer = client.put(format!("fill/{}", n % 20), value, None).await?;
        revision = answer.header().context("no header")?.revision();
    }
    Ok(revision)
}

/// The most memory that a process had, in KiB.
fn peak_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("no VmHWM")?.parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_longer_than_memory_loses_nothing_that_the_source_compacts() -> Result<()> {
    let Some(outage) = Outage::prepare("long").await? else {
        return Ok(());
    };
    let mut client = outage.etcd.client().await?;
    let mut agent = outage.agent(&[])?;
    put(&mut client, "before", 20).await?;
    let before = Truth::now(&mut client).await?;
    outage.world.durable(before.revision).await?;
    let cluster = cluster(&outage.s3, "long").await?;

    outage.gate.close();
    let lease = client.lease_grant(1, None).await?.id();
    let options = etcd_client::PutOptions::new().with_lease(lease);
    client.put("short", "lived", Some(options)).await?;
    let mut truths = vec![before];
    for _ in 0..2 {
        let filled = fill(&mut client, VALUES / 2).await?;
        truths.push(Truth::now(&mut client).await?);
        outage.spooled(&mut agent, filled).await?;
        compact(&mut client, filled).await?;
    }
    // Values of 100 MiB in all.
    let peak = peak_kib(agent.pid())?;
    ensure!(peak < RESIDENT_KIB, "the agent had {peak} KiB in memory");
    honest(&cluster).await?;

    outage.gate.open();
    put(&mut client, "later", 5).await?;
    truths.push(Truth::now(&mut client).await?);
    let truths: Vec<_> = truths.iter().collect();
    outage.nothing_is_lost(&truths).await?;
    let head = outage.world.path("agent").join("state/segments");
    agent.stop().await?;
    ensure!(
        newest(&head).is_none(),
        "files are left: {:?}",
        newest(&head)
    );
    let head = honest(&cluster).await?.context("no head")?;
    let last = truths.last().context("no truth")?.revision;
    ensure!(head.durable_revision.0 == last, "{head:?}");
    eprintln!("the agent had at most {peak} KiB in memory");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_starts_in_an_outage_lose_nothing_that_the_source_compacts() -> Result<()> {
    let Some(outage) = Outage::prepare("killed").await? else {
        return Ok(());
    };
    let mut client = outage.etcd.client().await?;
    let mut agent = outage.agent(&[])?;
    put(&mut client, "before", 20).await?;
    let before = Truth::now(&mut client).await?;
    outage.world.durable(before.revision).await?;
    outage.remembered(before.revision).await?;
    let mut truths = vec![before];

    outage.gate.close();
    for life in 1..=2 {
        let filled = fill(&mut client, 12).await?;
        truths.push(Truth::now(&mut client).await?);
        outage.spooled(&mut agent, filled).await?;
        agent.kill()?;
        compact(&mut client, filled).await?;
        // What is written while no agent runs is still in the source's history.
        put(&mut client, "away", 5).await?;
        agent = outage.agent(&[])?;
        let log = agent.log();
        while agent.log().matches("the object store is away").count() < life {
            agent.alive()?;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        ensure!(!log.contains("cannot be used"), "{log}");
    }
    put(&mut client, "after", 5).await?;
    truths.push(Truth::now(&mut client).await?);
    let after = truths.last().context("no truth")?.revision;
    outage.spooled(&mut agent, after).await?;

    outage.gate.open();
    put(&mut client, "later", 5).await?;
    truths.push(Truth::now(&mut client).await?);
    outage
        .nothing_is_lost(&truths.iter().collect::<Vec<_>>())
        .await?;
    agent.stop().await
}
