//! `--force-new-cluster`: the same history goes on where nothing was lost, and another one where something was.

use std::path::Path;

use anyhow::{Result, ensure};
use revkeep_harness::truth::Truth;
use revkeep_harness::{EtcdVersion, etcd_versions};

use crate::world::{Ports, QUICK, World, put};

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            std::fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

async fn forced(version: &EtcdVersion) -> Result<()> {
    let world = World::new()?;
    let ports = Ports::free()?;
    let data = world.path("data");
    let mut etcd = world.member(version, ports, &data, &[]).await?;
    let mut client = etcd.client().await?;
    let agent = world.agent("agent", &[ports.client()], &QUICK)?;
    let shared = put(&mut client, "shared", 20).await?;
    world.durable(1, shared).await?;
    etcd.stop().await?;
    let copied = world.path("copied");
    copy(&data, &copied)?;

    // Nothing is lost: the same timeline goes on.
    let force = ["--force-new-cluster"];
    let mut etcd = world.member(version, ports, &data, &force).await?;
    let mut client = etcd.client().await?;
    let first = put(&mut client, "first", 20).await?;
    let truth = Truth::now(&mut client).await?;
    world.durable(1, first).await?;
    etcd.stop().await?;

    // Twenty revisions are lost.
    let etcd = world.member(version, ports, &copied, &force).await?;
    let mut client = etcd.client().await?;
    let second = put(&mut client, "second", 5).await?;
    let lines = world.durable(2, second).await?;
    let newest = Truth::now(&mut client).await?;
    agent.stop().await?;
    ensure!(lines[0].maximum_recoverable == Some(first), "{lines:?}");
    ensure!(
        (lines[1].fork_revision, lines[1].fork_at_most) == (Some(shared), false),
        "{lines:?}"
    );
    world.comes_back(version, Some("0001"), &truth).await?;
    world.comes_back(version, None, &newest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_cluster_goes_on_unless_it_lost_something() -> Result<()> {
    let all = etcd_versions();
    for version in all.first().into_iter().chain(all.last()) {
        Box::pin(forced(version)).await?;
    }
    Ok(())
}
