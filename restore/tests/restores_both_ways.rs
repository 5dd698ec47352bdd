//! The promise: histories go both ways between etcd and the store, and from store to store, exactly.
//!
//! As in `restores_any_revision_of_etcd.rs`: a source is driven and captured, and what is restored from any of its revisions
//! must answer as the source did. Here one of the two is the store of this repository.

use std::time::Instant;

use anyhow::{Context, Result};
use revkeep_harness::exact::{Captured, points, seed};
use revkeep_harness::{EtcdVersion, etcd_series, etcd_versions, store};

/// Revisions compared for each source, unless `REVKEEP_POINTS` says otherwise.
const POINTS: usize = 6;

/// The newest release of every series that has `etcdutl`.
fn etcds() -> Vec<EtcdVersion> {
    [(3, 5), (3, 6), (3, 7)]
        .into_iter()
        .filter(|series| etcd_versions().iter().any(|etcd| etcd.series() == *series))
        .filter_map(|(major, minor)| etcd_series(major, minor))
        .collect()
}

fn told(captured: &Captured, started: Instant) {
    eprintln!(
        "source {}: {} revisions compared after {} s",
        captured.source,
        captured.points.len(),
        started.elapsed().as_secs()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_etcd_to_the_store() -> Result<()> {
    let Some(store) = store()? else {
        return Ok(());
    };
    let seed = seed();
    for (n, etcd) in (0..).zip(etcds()) {
        let started = Instant::now();
        let captured = Captured::from(&etcd, None, seed.wrapping_add(n), points(POINTS), 1).await?;
        captured.check_points(&store, 1).await?;
        if n == 0 {
            captured
                .check_three_members(captured.middle()?, &store)
                .await
                .context("three members of the store, from etcd")?;
        }
        told(&captured, started);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_store_to_etcd_and_to_the_store() -> Result<()> {
    let Some(store) = store()? else {
        return Ok(());
    };
    let started = Instant::now();
    let captured = Captured::from(&store, None, seed(), points(POINTS), 1).await?;
    let (middle, last) = (captured.middle()?, captured.last()?);
    captured.check_points(&store, 1).await?;
    captured
        .check_three_members(middle, &store)
        .await
        .context("three members of the store, from the store")?;
    captured.check_it_lives(last, &store).await?;
    for etcd in etcds() {
        captured.check_points(&etcd, 2).await?;
        captured
            .check_snapshot_file(last, &etcd)
            .await
            .with_context(|| format!("a snapshot file of a store's history, for etcd {etcd}"))?;
        captured
            .check_saved_snapshot(&etcd)
            .await
            .with_context(|| format!("etcdctl {etcd} snapshot save from the store"))?;
    }
    told(&captured, started);
    Ok(())
}
