//! A long way behind, a base costs the source less than a watch that catches up.

use anyhow::{Result, ensure};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, base_etcd};

use crate::world::{QUICK, World, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_behind_a_base_is_taken_and_nothing_is_lost() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let flags = [&QUICK[..], &["--catch-up-limit", "50"]].concat();
    let mut agent = world.agent("agent", &etcd.endpoints(), &flags)?;
    put(&mut client, "before", 10).await?;
    let before = Truth::now(&mut client).await?;
    world.durable(before.revision).await?;
    agent.kill()?;

    put(&mut client, "away", 30).await?;
    let between = Truth::now(&mut client).await?;
    put(&mut client, "away", 40).await?;
    let mut agent = world.agent("agent", &etcd.endpoints(), &flags)?;
    agent.wait_for_log("far behind").await?;
    let after = Truth::now(&mut client).await?;
    world.durable(after.revision).await?;
    put(&mut client, "later", 5).await?;
    let later = Truth::now(&mut client).await?;
    let info = world.durable(later.revision).await?;
    agent.stop().await?;

    // The second base's own history holds what no segment does.
    ensure!(info.ranges() == [(1, later.revision)], "{info:?}");
    ensure!(info.gaps.is_empty() && info.bases.len() == 2, "{info:?}");
    for truth in [&before, &between, &after, &later] {
        world.comes_back(&etcd, truth).await?;
    }
    Ok(())
}
