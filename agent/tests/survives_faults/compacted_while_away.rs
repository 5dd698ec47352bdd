//! The source compacts what the agent has not captured: a gap of exactly that, and a base.

use anyhow::{Context, Result, ensure};
use etcd_client::{Txn, TxnOp};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, base_etcd};

use crate::rows::{Held, compare, rows_of_source, timeline};
use crate::world::{QUICK, World, compact, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compacted_while_the_agent_was_away_is_a_gap_of_exactly_that() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let mut agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    put(&mut client, "before", 20).await?;
    let before = Truth::now(&mut client).await?;
    world.durable(before.revision).await?;
    agent.kill()?;

    let away = put(&mut client, "away", 30).await?;
    let compacted = away - 5;
    compact(&mut client, compacted).await?;
    let after = Truth::now(&mut client).await?;
    let agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    world.durable(after.revision).await?;
    put(&mut client, "later", 10).await?;
    let later = Truth::now(&mut client).await?;
    let info = world.durable(later.revision).await?;
    agent.stop().await?;

    // What the base's own history still has, from the compact revision on, is not lost.
    ensure!(
        info.ranges() == [(1, before.revision), (compacted, later.revision)],
        "{info:?}"
    );
    ensure!(
        info.lost() == [(before.revision + 1, compacted - 1)],
        "{info:?}"
    );
    ensure!(info.bases.len() == 2, "{info:?}");
    for truth in [&before, &after, &later] {
        world.comes_back(&etcd, truth).await?;
    }
    let oldest = world.restore(compacted, &world.path("oldest")).await?;
    ensure!(oldest.code == 0, "{oldest:?}");
    for lost in [before.revision + 1, compacted - 1] {
        let refused = world.restore(lost, &world.path("lost")).await?;
        ensure!(refused.code == 15, "{lost}: {refused:?}");
    }
    let base = info.bases.last().context("no base")?;
    ensure!(
        base.compact_revision == compacted && base.revision >= after.revision,
        "{info:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacted_exactly_at_the_next_revision_nothing_is_lost_and_no_row_is_invented()
-> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let mut agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    client.put("doomed", "x", None).await?;
    let before = put(&mut client, "before", 5).await?;
    world.durable(before).await?;
    agent.kill()?;

    // The compaction removes the deletion, the first row of its revision: a watch from there gives the put alone.
    let operations = [TxnOp::delete("doomed", None), TxnOp::put("kept", "x", None)];
    client.txn(Txn::new().and_then(operations)).await?;
    put(&mut client, "away", 5).await?;
    compact(&mut client, before + 1).await?;
    Box::pin(goes_on_whole(&world, etcd, before)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacted_exactly_at_the_last_captured_revision_nothing_is_lost_and_no_row_is_invented()
-> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let mut agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    client.put("doomed", "x", None).await?;
    put(&mut client, "before", 5).await?;
    // The watch begins with this one again, of which the compaction has removed the first row.
    let operations = [TxnOp::delete("doomed", None), TxnOp::put("kept", "x", None)];
    let last = client.txn(Txn::new().and_then(operations)).await?;
    let last = last.header().context("no header")?.revision();
    world.durable(last).await?;
    agent.kill()?;

    put(&mut client, "away", 5).await?;
    compact(&mut client, last).await?;
    Box::pin(goes_on_whole(&world, etcd, last)).await
}

/// The next start loses nothing, and holds exactly the source's rows above a revision.
async fn goes_on_whole(world: &World, mut etcd: Etcd, above: i64) -> Result<()> {
    let mut client = etcd.client().await?;
    let agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    put(&mut client, "later", 5).await?;
    let later = Truth::now(&mut client).await?;
    let info = world.durable(later.revision).await?;
    agent.stop().await?;
    ensure!(
        info.ranges() == [(1, later.revision)] && info.gaps.is_empty(),
        "{info:?}"
    );
    world.comes_back(&etcd, &later).await?;

    let timeline = timeline(&world.vault).await?.context("no timeline")?;
    let mut held = Held::all(&timeline, &timeline.inventory().await?).await?;
    etcd.stop().await?;
    let mut source = rows_of_source(&etcd.db_file())?;
    held.rows.retain(|key, _| key.main.0 > above);
    source.retain(|key, _| key.main.0 > above);
    compare(&source, &held.rows)
}
