//! Snapshots of a follower.

use anyhow::{Context, Result, ensure};
use revkeep_harness::product::CLUSTER;
use revkeep_harness::{base_etcd, binary};
use tokio::process::Command;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sends_the_snapshot_where_there_is_one() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let mut world = World::new(&version).await?;
    world.put("key", 10).await?;
    let status = world.cluster.members[0]
        .client()
        .await?
        .maintenance_client()
        .status()
        .await?;
    let leader = status.leader();
    let mut addresses = Vec::new();
    for member in &world.cluster.members {
        let status = member.client().await?.maintenance_client().status().await?;
        let id = status.header().context("no header")?.member_id();
        addresses.push((id, member.endpoint()));
    }
    // The leader comes first, and would be taken.
    addresses.sort_by_key(|(id, _)| *id != leader);
    let all: Vec<_> = addresses.iter().map(|(_, one)| one.clone()).collect();
    let taken_from = async |endpoints: &[String]| -> Result<String> {
        let output = Command::new(binary("revkeep-agent")?)
            .args(["snapshot", "--prefer", "follower", "--cluster", CLUSTER])
            .args([
                "--endpoints",
                &endpoints.join(","),
                "--vault",
                &world.vault.url,
            ])
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let log = taken_from(&all).await?;
    let line = log.lines().find(|line| line.contains("snapshot taken"));
    let line = line.context("no snapshot")?;
    ensure!(!line.contains(all[0].as_str()), "{log}");
    ensure!(
        all[1..].iter().any(|one| line.contains(one.as_str())),
        "{log}"
    );
    // Without one the leader has to, and that is said.
    let log = taken_from(&all[..1]).await?;
    ensure!(log.contains("no healthy follower"), "{log}");
    Ok(())
}
