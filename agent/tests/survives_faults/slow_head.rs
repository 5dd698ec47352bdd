//! A store that takes the head and never answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_agent::Target;
use revkeep_agent::capture::batch::{Batch, Stamped};
use revkeep_agent::capture::joiner::Transaction;
use revkeep_agent::head::HeadKeeper;
use revkeep_agent::lease::Leases;
use revkeep_agent::ship::{Facts, Shipper, bounded};
use revkeep_harness::{Fault, FaultyStore, Request};
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, RowBuf, RowKey};
use revkeep_vault::{SourceIdentity, Vault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::WITHIN;

fn batch(main: i64) -> Batch {
    let revision = Revision(main);
    let row = RowBuf {
        key: RowKey {
            main: revision,
            sub: 0,
            tombstone: true,
        },
        value: KeyValue::encode_tombstone(b"k").into(),
    };
    let transaction = Transaction {
        revision,
        rows: vec![row],
        leases: Vec::new(),
    };
    Batch {
        first: revision,
        last: revision,
        plain_bytes: 100,
        transactions: vec![Stamped {
            unix_ms: 1,
            transaction,
        }],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_hangs_holds_up_no_segment() -> Result<()> {
    let judge = |request, path: &Path| {
        let head = request == Request::Put && path.as_ref().ends_with("/head");
        head.then_some(Fault::Hangs)
    };
    let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
    let vault = Vault::create_with_store(Arc::new(store), Path::from("v")).await?;
    let cluster = vault.cluster(&"test".parse()?);
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await?;
    let target = Target { cluster, timeline };
    let head = Arc::new(HeadKeeper::new(
        Revision(1),
        Revision::ZERO,
        Some(Revision(1)),
    ));
    let done = CancellationToken::new();
    let writing = tokio::spawn(head.writer(target.clone()).run(done.clone()));
    let (queue, batches) = bounded(1 << 20);
    let member = watch::Sender::new(None);
    let shipping = Shipper {
        target: target.clone(),
        facts: Facts::new(
            member.subscribe(),
            Arc::new(Leases::default()),
            Revision::ZERO,
        ),
        head: Arc::clone(&head),
    }
    .start(batches);
    for main in 2..=20 {
        queue.push(batch(main)).await;
        // Every base asks for a head at once.
        head.base(Revision(1), Revision::ZERO);
    }
    // A hole: what follows it does not count until a base heals it.
    queue.push(batch(31)).await;
    drop(queue);
    tokio::time::timeout(WITHIN, shipping.finished()).await??;
    ensure!(head.durable() == Some(Revision(20)), "{:?}", head.durable());
    let inventory = target.timeline.inventory().await?;
    ensure!(inventory.segments.len() == 20);
    head.base(Revision(30), Revision(21));
    let deadline = Instant::now() + WITHIN;
    while head.durable() != Some(Revision(31)) {
        ensure!(Instant::now() < deadline, "{:?}", head.durable());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    writing.abort();
    Ok(())
}
