//! Revisions that the source compacted while no agent looked: counted, and the headroom before it happens again.

use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::{Client, CompactionOptions};
use revkeep_harness::product::VaultPlace;
use revkeep_harness::{Etcd, base_etcd};
use tempfile::TempDir;

use crate::watched::{PATIENT, Watched, put};

async fn compact(client: &mut Client, at: i64) -> Result<()> {
    let physical = CompactionOptions::new().with_physical();
    client.compact(at, Some(physical)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
async fn gaps_are_counted_and_compactions_are_seen_to_come() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = TempDir::with_prefix("revkeep-status-")?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let captured = put(&mut client, "before", 5).await?;
    let mut agent = Watched::start(&folder, &etcd.endpoints(), &vault, &PATIENT)?;
    agent.started().await?;
    let metrics = agent.metrics().await?;
    ensure!(metrics.get("revkeep_gaps_total") == Some(&0.0));
    ensure!(!metrics.contains_key("revkeep_compaction_headroom_seconds"));
    agent.agent.stop().await?;

    let away = put(&mut client, "away", 20).await?;
    let compacted = away - 3;
    compact(&mut client, compacted).await?;
    let mut agent = Watched::start(&folder, &etcd.endpoints(), &vault, &PATIENT)?;
    agent
        .until_metric("revkeep_durable_revision", |durable| durable >= away as f64)
        .await?;
    let metrics = agent.metrics().await?;
    let lost = compacted - 1 - captured;
    for (name, value) in [
        ("revkeep_gaps_total", 1),
        ("revkeep_gaps_recorded_total", 1),
        ("revkeep_lost_revisions_total", lost),
        ("revkeep_source_compact_revision", compacted),
        (
            "revkeep_compaction_headroom_revisions",
            away + 1 - compacted,
        ),
    ] {
        let told = metrics.get(name).copied();
        ensure!(
            told == Some(value as f64),
            "{name}, not {value}: {metrics:?}"
        );
    }
    let status = agent.status().await?;
    ensure!(
        status.gaps_recorded == 1 && status.lost_revisions == u64::try_from(lost)?,
        "{status:?}"
    );

    // Compactions of what came while the agent looked tell how long the source keeps its history.
    let headroom = "revkeep_compaction_headroom_seconds";
    let mut seen = away;
    while !agent.metrics().await?.contains_key(headroom) {
        ensure!(seen < away + 1000, "{:?}", agent.metrics().await?);
        seen = put(&mut client, "seen", 2).await?;
        agent.command(&["flush"]).await?.json()?;
        compact(&mut client, seen - 1).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let left = agent.metric(headroom).await?;
    ensure!((0.0..600.0).contains(&left), "{left}");
    let left = "revkeep_compaction_headroom_revisions";
    let two = |left: f64| left.to_bits() == 2.0_f64.to_bits();
    agent.until_metric(left, two).await?;
    agent.agent.stop().await
}
