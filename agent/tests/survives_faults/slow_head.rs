//! Shipping on its own: a store that takes the head and never answers, and a batch that cannot be sealed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_agent::capture::batch::{Batch, Stamped};
use revkeep_agent::capture::joiner::Transaction;
use revkeep_agent::head::HeadKeeper;
use revkeep_agent::lease::Leases;
use revkeep_agent::ship::{Facts, Shipper, bounded};
use revkeep_agent::spool::{Place, Spool};
use revkeep_agent::turn::{TurnTask, Turns, UploadPolicy};
use revkeep_agent::{Proof, Target};
use revkeep_harness::{Fault, FaultyStore, Request};
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, RowBuf, RowKey};
use revkeep_vault::{SourceIdentity, Vault};
use tempfile::TempDir;
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

async fn target(store: Arc<dyn ObjectStore>) -> Result<Target> {
    let vault = Vault::create_with_store(store, Path::from("v")).await?;
    let cluster = vault.cluster(&"test".parse()?);
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await?;
    Ok(Target { cluster, timeline })
}

async fn shipper(target: &Target, head: &Arc<HeadKeeper>, state: &TempDir) -> Result<Shipper> {
    let member = watch::Sender::new(None);
    let leases = Arc::new(Leases::default());
    let spool = Spool::open(state.path(), Place::of(target), 1 << 20).await?;
    Ok(Shipper {
        target: target.clone(),
        spool: Arc::new(spool),
        deadline: WITHIN.into(),
        facts: Facts::new(member.subscribe(), leases, Revision::ZERO, Arc::default()),
        turns: Turns::new(UploadPolicy::Always),
        proof: Proof::given(),
        yields: CancellationToken::new(),
        head: Arc::clone(head),
    })
}

fn head() -> Arc<HeadKeeper> {
    let durable = Some(Revision(1));
    Arc::new(HeadKeeper::new(Revision(1), Revision::ZERO, durable))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sealed_ends_shipping_and_is_told() -> Result<()> {
    let target = target(Arc::new(InMemory::new())).await?;
    let (queue, batches) = bounded(1 << 20);
    let state = TempDir::with_prefix("revkeep-shipping-")?;
    let shipping = shipper(&target, &head(), &state).await?.start(batches);
    queue.push(batch(2)).await;
    let empty = Batch {
        transactions: Vec::new(),
        ..batch(3)
    };
    queue.push(empty).await;
    // Nobody would notice else, and what is pushed from now on is stored nowhere.
    tokio::time::timeout(WITHIN, queue.closed()).await?;
    let outcome = tokio::time::timeout(WITHIN, shipping.finished()).await?;
    ensure!(outcome.is_err(), "a batch without rows was sealed");
    ensure!(target.timeline.inventory().await?.segments.len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_hangs_holds_up_no_segment() -> Result<()> {
    let judge = |request, path: &Path| {
        let head = request == Request::Put && path.as_ref().ends_with("/head");
        head.then_some(Fault::Hangs)
    };
    let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
    let target = target(Arc::new(store)).await?;
    let head = head();
    let done = CancellationToken::new();
    let turns = Turns::new(UploadPolicy::Always);
    let id = (1, Duration::from_secs(1));
    let turning = TurnTask::new(target.clone(), Arc::clone(&head), turns, id);
    let writing = tokio::spawn(turning.run(done.clone()));
    let (queue, batches) = bounded(1 << 20);
    let state = TempDir::with_prefix("revkeep-shipping-")?;
    let shipping = shipper(&target, &head, &state).await?.start(batches);
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
