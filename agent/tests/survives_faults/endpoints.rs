//! Several endpoints: the first is down, and later the one in use.

use anyhow::{Context, Result, ensure};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, base_etcd};

use crate::world::{QUICK, World, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capture_goes_on_with_another_endpoint() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let mut cluster = Etcd::start_cluster(&version, 3).await?;
    let endpoints = cluster.endpoints();
    cluster.members.first_mut().context("no member")?.kill()?;
    let mut agent = world.agent("agent", &endpoints, &QUICK)?;
    let mut client = cluster
        .members
        .get(2)
        .context("no member")?
        .client()
        .await?;
    let first = put(&mut client, "first", 20).await?;
    world.durable(first).await?;
    let used = endpoints.get(1).context("no endpoint")?;
    let watched = |line: &str| line.contains(" watching ") && line.contains(used.as_str());
    ensure!(agent.log().lines().any(watched), "{}", agent.log());

    cluster
        .members
        .first_mut()
        .context("no member")?
        .restart()
        .await?;
    cluster
        .members
        .get_mut(1)
        .context("no member")?
        .stop()
        .await?;
    put(&mut client, "second", 20).await?;
    let truth = Truth::now(&mut client).await?;
    let info = world.durable(truth.revision).await?;
    agent.alive()?;
    agent.stop().await?;
    ensure!(
        info.ranges() == [(1, truth.revision)] && info.gaps.is_empty(),
        "{info:?}"
    );
    let source = cluster.members.get(2).context("no member")?;
    world.comes_back(source, &truth).await
}
