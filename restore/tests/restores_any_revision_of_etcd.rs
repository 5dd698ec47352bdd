//! The promise: every captured revision comes back exactly, judged by etcd itself.
//!
//! A real etcd is driven with random operations while a real agent captures it. At many moments the source is asked for
//! its `HashKV` and all its keys; afterwards each of those revisions is restored, a real etcd boots the result, and
//! must give the same answers.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use revkeep_harness::exact::{Captured, points, seed};
use revkeep_harness::product::VaultPlace;
use revkeep_harness::{EtcdVersion, SeaweedFs, etcd_versions};

/// Revisions compared for each source, unless `REVKEEP_POINTS` says otherwise.
const POINTS: usize = 50;
/// Sources captured and compared side by side.
const SOURCES_AT_ONCE: usize = 2;

async fn check_source(source: &EtcdVersion, targets: &[EtcdVersion], seed: u64) -> Result<()> {
    let started = Instant::now();
    let captured = Captured::from(source, None, seed, points(POINTS), 1).await?;
    let captured_s = started.elapsed().as_secs();
    let (middle, last) = (captured.middle()?, captured.last()?);
    captured.check_points(source, 1).await?;
    captured.check_snapshot_file(middle, source).await?;
    captured.check_snapshot_file(last, source).await?;
    Box::pin(captured.check_wal_dir(middle)).await?;
    captured.check_three_members(middle, source).await?;
    captured.check_it_lives(last, source).await?;
    for target in targets.iter().filter(|target| *target != source) {
        let step = captured.points.len().div_ceil(3);
        captured.check_points(target, step).await?;
    }
    eprintln!(
        "source etcd {source}: {} revisions captured in {captured_s} s, compared after {} s",
        captured.points.len(),
        started.elapsed().as_secs()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_revision_comes_back_exactly() -> Result<()> {
    let versions = etcd_versions();
    let seed = seed();
    let sources = (0..).zip(&versions);
    stream::iter(sources)
        .map(|(n, source)| check_source(source, &versions, seed.wrapping_add(n)))
        .buffer_unordered(SOURCES_AT_ONCE)
        .try_collect()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_in_a_bucket_is_as_exact() -> Result<()> {
    let versions = etcd_versions();
    let (Some(s3), Some(newest)) = (SeaweedFs::start().await?, versions.last()) else {
        return Ok(());
    };
    let bucket = VaultPlace::bucket(&s3, "exact");
    let captured = Captured::from(newest, Some(bucket), seed(), points(POINTS).min(6), 2).await?;
    captured.check_points(newest, 1).await?;
    // Two agents stored the same history in pieces of their own, and all of it agrees.
    let flags = ["--verify-overlaps", "--dry-run"];
    let plan = captured.restore(captured.last()?.revision, &flags).await?;
    let count = |name: &str| plan.pointer(&format!("/overlaps/{name}"))?.as_u64();
    ensure!(
        count("segments").is_some_and(|segments| segments > 0) && count("not_compared") == Some(0),
        "overlaps: {plan}"
    );
    Ok(())
}
