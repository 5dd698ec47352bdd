//! The uploader is killed, paused, or ends in order.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revkeep_harness::base_etcd;

use crate::world::World;

/// What was measured is printed; on a busy machine it may take longer than the eight seconds that it should.
const SECONDS: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_paused_uploaders_are_replaced_and_do_no_harm_when_they_come_back() -> Result<()>
{
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let mut world = World::new(&version).await?;
    let first = world.start_all().await?;
    let before = world.put("before", 20).await?;
    world.durable(before).await?;
    let since = Instant::now;

    // Killed, with changes that it has not stored.
    world.agents.get_mut(&first).unwrap().agent.signal("STOP")?;
    let start = since();
    let held = world.put("held", 20).await?;
    let mut dead = world.agents.remove(&first).unwrap();
    dead.agent.kill()?;
    world.durable(held).await?;
    let took = start.elapsed();
    eprintln!("a killed uploader was replaced after {took:?}");
    ensure!(took < SECONDS, "{took:?}");
    let second = world.uploader().await?;
    ensure!(second != first);

    // Paused; the one that was killed is back and follows.
    let vault = world.vault.clone();
    world.start(first, &vault)?;
    world
        .agents
        .get_mut(&first)
        .unwrap()
        .agent
        .wait_for_log("this one follows")
        .await?;
    let settled = world.put("settled", 20).await?;
    world.durable(settled).await?;
    world
        .agents
        .get_mut(&second)
        .unwrap()
        .agent
        .signal("STOP")?;
    let start = since();
    let paused = world.put("paused", 20).await?;
    world.durable(paused).await?;
    let took = start.elapsed();
    eprintln!("a paused uploader was replaced after {took:?}");
    ensure!(took < SECONDS, "{took:?}");
    let more = world.put("more", 20).await?;
    world.durable(more).await?;
    world
        .agents
        .get_mut(&second)
        .unwrap()
        .agent
        .signal("CONT")?;
    let awake = world.put("awake", 20).await?;
    world.durable(awake).await?;
    let third = world.uploader().await?;
    ensure!(third != second, "the one that was paused uploads again");

    // Ended in order: nobody has to find out.
    let ending = world.agents.remove(&third).unwrap();
    ending.agent.stop().await?;
    let after = world.put("after", 20).await?;
    let took = world.durable(after).await?;
    eprintln!("an uploader that ended was replaced after {took:?}");
    ensure!(took < SECONDS, "{took:?}");
    Box::pin(world.exact()).await
}
