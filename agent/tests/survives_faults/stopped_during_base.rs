//! A stop while a base of the schedule goes up, which takes as long as the data is large.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_agent::base::Driver;
use revkeep_agent::gap::gaps;
use revkeep_agent::head::HeadKeeper;
use revkeep_agent::lease::Leases;
use revkeep_agent::lineage::{Known, Lineage};
use revkeep_agent::source::{Access, Connection, Member, Prefer};
use revkeep_agent::spool::{Place, Spool};
use revkeep_agent::turn::{Turns, UploadPolicy};
use revkeep_agent::{Proof, Target};
use revkeep_harness::{Etcd, Fault, FaultyStore, Request, base_etcd};
use revkeep_schemas::Revision;
use revkeep_vault::{SourceIdentity, Vault};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::world::{WITHIN, World, put};

/// Far more than giving up takes.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_of_the_schedule_is_given_up() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    put(&mut etcd.client().await?, "key", 5).await?;
    let access = Access {
        dial_timeout: WITHIN,
        command_timeout: WITHIN,
        ..Access::default()
    };
    let connection = Connection::new(etcd.endpoints(), access);
    let (_, identity) = Member::connect(&connection, &etcd.endpoint()).await?;
    let goes_up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&goes_up);
    let judge = move |request, path: &Path| {
        let chunk = request == Request::Put && path.as_ref().contains("/chunks/");
        chunk.then(|| {
            seen.store(true, Ordering::Relaxed);
            Fault::Hangs
        })
    };
    let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
    let vault = Vault::create_with_store(Arc::new(store), Path::from("v")).await?;
    let cluster = vault.cluster(&"test".parse()?);
    let source = SourceIdentity {
        cluster_id: identity.cluster_id,
        ..SourceIdentity::default()
    };
    let timeline = cluster.create_timeline(source, None).await?;
    let target = Target { cluster, timeline };
    let head = Arc::new(HeadKeeper::new(Revision::ZERO, Revision::ZERO, None));
    let (gaps, recorder) = gaps(target.clone(), Arc::clone(&head));
    let recording = tokio::spawn(recorder.run());
    let known = Known {
        cluster_id: identity.cluster_id,
        ..Known::default()
    };
    let every_second = "* * * * * *".parse();
    let place = Place::of(&target);
    let segments = Spool::open(&world.folder.path().join("segments"), place, 1 << 20).await?;
    let driver = Driver {
        connection,
        target,
        spool: world.folder.path().to_path_buf(),
        segments: Arc::new(segments),
        schedule: Some(every_second.map_err(anyhow::Error::msg)?).into(),
        head,
        gaps,
        leases: Arc::new(Leases::default()),
        lineage: Arc::new(Lineage::new(known)),
        prefer: Prefer::Any,
        turns: Turns::new(UploadPolicy::Always),
        proof: Proof::given(),
        previous: None,
    };
    let (jobs, incoming) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let basing = tokio::spawn(driver.run(incoming, stop.clone()));
    let deadline = Instant::now() + WITHIN;
    while !goes_up.load(Ordering::Relaxed) {
        ensure!(Instant::now() < deadline, "no base goes up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    drop(jobs);
    tokio::time::timeout(SOON, basing)
        .await
        .context("it waits for the base")??;
    recording.await?;
    Ok(())
}
