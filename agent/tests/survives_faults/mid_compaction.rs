//! A snapshot that the source sends while it compacts holds some of the rows that are to go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Txn, TxnOp};
use revkeep_harness::product::{CLUSTER, run};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, EtcdOptions, base_etcd};
use revkeep_schemas::manifest::SmallBucket;

use crate::rows::timeline;
use crate::world::World;

/// Tries to meet a compaction half way.
const TRIES: usize = 5;
/// Transactions, and puts in each.
const TRANSACTIONS: usize = 150;
const PUTS: usize = 20;

fn meta<'a>(buckets: &'a [SmallBucket], key: &[u8]) -> Option<&'a [u8]> {
    let meta = buckets.iter().find(|bucket| bucket.name == b"meta")?;
    let entry = meta.entries.iter().find(|entry| entry.0 == key)?;
    Some(&entry.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_taken_while_the_source_compacts_is_exact() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    // A few rows at a time with a pause in between, so that a small compaction takes as long as a large one.
    let options = EtcdOptions::default()
        .flag("--experimental-compaction-batch-limit=10")
        .flag("--unsafe-no-fsync");
    let etcd = Etcd::start_with(&version, options).await?;
    let mut client = etcd.client().await?;
    for _ in 0..TRIES {
        for _ in 0..TRANSACTIONS {
            let puts = (0..PUTS).map(|n| TxnOp::put(format!("k{n}"), vec![7; 50], None));
            client
                .txn(Txn::new().and_then(puts.collect::<Vec<_>>()))
                .await?;
        }
        let at = etcd.revision().await? - 10;
        client.compact(at, None).await?;
        let endpoint = etcd.endpoint();
        let state = world.path("state");
        let state = state.to_str().context("a path that is not UTF-8")?;
        let arguments = ["snapshot", "--endpoints", &endpoint, "--cluster", CLUSTER];
        let arguments = [&arguments[..], &["--state-dir", state]].concat();
        run("revkeep-agent", &world.vault, &arguments)
            .await?
            .json()
            .ok();
        let truth = Truth::now(&mut client).await?;
        let timeline = timeline(&world.vault).await?.context("no timeline")?;
        let inventory = timeline.inventory().await?;
        let base = inventory.bases.last().context("no base")?;
        ensure!(
            base.compact_revision.0 == at && base.revision.0 == truth.revision,
            "the base stands at {} and is compacted at {}, not {} and {at}",
            base.revision,
            base.compact_revision,
            truth.revision
        );
        let buckets = &base.manifest.facts.buckets;
        let scheduled = meta(buckets, b"scheduledCompactRev");
        let half_way = scheduled > meta(buckets, b"finishedCompactRev");
        if half_way {
            return world.comes_back(&etcd, &truth).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("no snapshot of {TRIES} met a compaction half way")
}
