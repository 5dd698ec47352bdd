//! An agent ended while several segments were on their way, so the vault has later ones and not the one before; then the
//! source is set back to just where the vault reaches without a hole.

use anyhow::{Context, Result, ensure};
use revkeep_harness::etcd_versions;
use revkeep_harness::truth::Truth;

use crate::world::{Ports, QUICK, World, put};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_beyond_a_hole_tells_a_source_that_was_set_back() -> Result<()> {
    let Some(version) = etcd_versions().into_iter().next_back() else {
        return Ok(());
    };
    let world = World::new()?;
    let ports = Ports::free()?;
    let mut etcd = world
        .member(&version, ports, &world.path("data"), &[])
        .await?;
    let mut client = etcd.client().await?;
    let mut agent = world.agent("agent", &[ports.client()], &QUICK)?;
    let saved = put(&mut client, "shared", 20).await?;
    world.durable(1, saved).await?;
    let file = world.save(&etcd, "saved.db").await?;
    let mut last = saved;
    for burst in 0..3 {
        last = put(&mut client, &format!("first-{burst}"), 20).await?;
        world.durable(1, last).await?;
    }
    agent.kill()?;
    etcd.stop().await?;
    // As if the answer for the oldest of them had never come, and the segment neither.
    let taken = world.lose_segment_from(saved + 1)?;
    ensure!(taken < last, "nothing is left beyond {taken}");
    let lines = world.lines().await?;
    ensure!(
        lines.last().context("none")?.maximum_recoverable < Some(last),
        "{lines:?}"
    );

    let again = world.etcd_restores(&version, ports, &file, &[]).await?;
    let hidden_ports = ports.elsewhere()?;
    let mut hidden = world.member(&version, hidden_ports, &again, &[]).await?;
    put(&mut hidden.client().await?, "second", 200).await?;
    hidden.stop().await?;
    let etcd = world.member(&version, ports, &again, &[]).await?;
    let mut client = etcd.client().await?;
    let later = put(&mut client, "third", 5).await?;
    let truth = Truth::now(&mut client).await?;
    let agent = world.agent("agent", &[ports.client()], &QUICK)?;
    let lines = world.durable(2, later).await?;
    agent.stop().await?;
    ensure!(
        lines.last().context("none")?.fork_revision == Some(saved),
        "{lines:?}"
    );
    world.comes_back(&version, None, &truth).await
}
