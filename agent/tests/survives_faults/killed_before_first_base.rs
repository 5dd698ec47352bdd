//! SIGKILL while the first base goes up.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, EtcdOptions, base_etcd};

use crate::rows::timeline;
use crate::world::{QUICK, WITHIN, World, put};

/// Kills at random moments, after the first one.
const KILLS: usize = 5;
/// Bytes of the keys that make the first base large: several chunks.
const VALUE_BYTES: usize = 1 << 20;
const VALUES: usize = 24;

/// Whether an object whose path holds `part` is there: not a file that a kill left half-written, `name#1`.
fn holds(folder: &Path, part: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            holds(&path, part)
        } else {
            let path = path.to_string_lossy();
            path.contains(part) && !path.contains('#')
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_the_first_base_leave_nothing_wrong() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let options = EtcdOptions::default().flag("--unsafe-no-fsync");
    let etcd = Etcd::start_with(&version, options).await?;
    let mut client = etcd.client().await?;
    for n in 0..VALUES {
        let mut value = vec![0; VALUE_BYTES];
        rand::fill(&mut value[..]);
        client.put(format!("large/{n}"), value, None).await?;
    }
    let vault = world.path("vault");
    let mut agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    let deadline = Instant::now() + WITHIN;
    while !holds(&vault, "/chunks/") {
        agent.alive()?;
        ensure!(Instant::now() < deadline, "no chunk goes up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    agent.kill()?;
    // Chunks without a manifest are no base, and nothing is claimed of them.
    let info = world.info().await?;
    ensure!(
        holds(&vault, "/bases/") != info.coverage.is_empty(),
        "{info:?}"
    );
    for life in 0..KILLS {
        let mut agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
        put(&mut client, &format!("life/{life}"), 5).await?;
        let wait = rand::rng().random_range(20..500);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        agent.kill()?;
        let info = world.info().await?;
        ensure!(
            holds(&vault, "/bases/") != info.coverage.is_empty() && info.gaps.is_empty(),
            "{info:?}"
        );
    }
    let agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    put(&mut client, "last", 5).await?;
    let truth = Truth::now(&mut client).await?;
    let info = world.durable(truth.revision).await?;
    agent.stop().await?;
    ensure!(
        info.ranges() == [(1, truth.revision)] && info.gaps.is_empty(),
        "{info:?}"
    );
    let timeline = timeline(&world.vault).await?.context("no timeline")?;
    let damaged = timeline.inventory().await?.damaged;
    ensure!(damaged.is_empty(), "{damaged:?}");
    world.comes_back(&etcd, &truth).await
}
