//! One revision deletes a key, puts it and deletes it again: in the watch that looks like a transaction sent twice.

use anyhow::{Context, Result, ensure};
use etcd_client::{DeleteOptions, Txn, TxnOp};
use revkeep_harness::{Etcd, base_etcd};

use crate::rows::{Held, compare, rows_of_source, timeline};
use crate::world::{QUICK, World, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capture_gets_past_a_key_deleted_twice_in_one_revision() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let mut etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let agent = world.agent("agent", &etcd.endpoints(), &QUICK)?;
    // etcd's check for duplicate keys does not see that a from-key delete covers a put.
    let key = vec![0xff, 0xff, 1];
    client.put(key.clone(), "x", None).await?;
    let before = put(&mut client, "before", 5).await?;
    world.durable(before).await?;
    let from_key = DeleteOptions::new().with_from_key();
    let delete = TxnOp::delete(key.clone(), Some(from_key));
    let operations = [delete.clone(), TxnOp::put(key, "y", None), delete];
    client.txn(Txn::new().and_then(operations)).await?;
    let after = put(&mut client, "after", 5).await?;
    let info = world.durable(after).await?;
    agent.stop().await?;
    ensure!(
        info.ranges() == [(1, after)] && info.gaps.is_empty(),
        "{info:?}"
    );
    let timeline = timeline(&world.vault).await?.context("no timeline")?;
    let held = Held::all(&timeline, &timeline.inventory().await?).await?;
    etcd.stop().await?;
    let source = rows_of_source(&etcd.db_file())?;
    let rows = source.keys().filter(|key| key.main.0 == before + 1);
    ensure!(rows.count() == 3, "etcd took it otherwise");
    compare(&source, &held.rows)
}
