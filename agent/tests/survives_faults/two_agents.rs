//! Two agents at once on one cluster, without a lock between them.

use anyhow::{Context, Result, ensure};
use revkeep_harness::truth::Truth;
use revkeep_harness::workload::Workload;
use revkeep_harness::{Etcd, base_etcd};

use crate::rows::{Held, compare, rows_of_source, timeline};
use crate::world::{QUICK, World};

/// Operations between two moments that are compared, and how many of those.
const STEPS: usize = 25;
const POINTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_agents_store_agrees_and_is_exact() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let mut etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    // Long leases only matter here: those that end by themselves would go on after the last comparison.
    let mut workload = Workload::without_compactions(rand::random());
    let agents = [
        world.agent(
            "one",
            &etcd.endpoints(),
            &[&QUICK[..], &["--upload", "always"]].concat(),
        )?,
        world.agent(
            "two",
            &etcd.endpoints(),
            &["--flush-interval", "230ms", "--upload", "always"],
        )?,
    ];
    let mut truths = Vec::new();
    for _ in 0..POINTS {
        for _ in 0..STEPS {
            workload.step(&mut client).await?;
        }
        let truth = Truth::now(&mut client).await?;
        world.durable(truth.revision).await?;
        truths.push(truth);
    }
    for agent in agents {
        agent.stop().await?;
    }
    let last = Truth::now(&mut client).await?;
    let timeline = timeline(&world.vault).await?.context("no timeline")?;
    ensure!(timeline.cluster().timelines().await?.len() == 1);
    let inventory = timeline.inventory().await?;
    // Reading fails where two objects disagree.
    let held = Held::all(&timeline, &inventory).await?;
    ensure!(held.again > 0, "the agents never overlapped");
    for truth in &truths {
        let mut truth = truth.clone();
        // A lease of a second may end between two questions to the source.
        truth.leases.retain(|_, ttl_s| *ttl_s > 600);
        if truth
            .keys
            .iter()
            .all(|key| key.lease == 0 || truth.leases.contains_key(&key.lease))
        {
            world.comes_back(&etcd, &truth).await?;
        }
    }
    etcd.stop().await?;
    let mut source = rows_of_source(&etcd.db_file())?;
    source.retain(|key, _| key.main.0 <= last.revision);
    compare(&source, &held.rows)
}
