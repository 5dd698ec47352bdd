use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_harness::{Fault, FaultyStore, Request};

use super::*;
use crate::service::ProofOptions;

/// A service whose listings of clusters meet a fate, and how many of them there were.
async fn service(folder: &std::path::Path, fate: Fault) -> (Arc<Runner>, Arc<AtomicUsize>) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    Vault::create_with_store(Arc::clone(&store), Path::from("p"))
        .await
        .unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let faulty = FaultyStore::new(store, move |request, path| {
        (request == Request::List && path.as_ref().ends_with("clusters")).then(|| {
            counting.fetch_add(1, Ordering::Relaxed);
            fate
        })
    });
    let vault = Vault::with_store(Arc::new(faulty), Path::from("p"))
        .await
        .unwrap();
    let url = format!("sqlite://{}/c.sqlite", folder.display());
    let catalog = Catalog::open(&url.parse().unwrap()).await.unwrap();
    let runner = Runner {
        claims: Claims::of(&catalog, &vault),
        vault,
        catalog,
        state: Arc::default(),
        holder: "one".to_owned(),
        options: ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            token_file: None,
            schedules: Vec::new(),
            jitter: Duration::ZERO,
            relist: Duration::ZERO,
            proofs: ProofOptions {
                url: "memory:".to_owned(),
                ledger: folder.join("ledger"),
                period: Duration::ZERO,
                etcd_bin: None,
            },
            policy: None,
        },
        policy: watch::channel(None).1,
        stop: CancellationToken::new(),
        turns: Turns::default(),
    };
    (Arc::new(runner), asked)
}

#[tokio::test]
async fn a_job_is_under_way_once() {
    let folder = tempfile::tempdir().unwrap();
    let (runner, asked) = service(folder.path(), Fault::Hangs).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let runner = Arc::clone(&runner);
        running.spawn(async move { runner.due(Job::CatalogSync, Utc::now()).await });
    }
    while asked.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // All of them end when the service does.
    runner.stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_failed_counts_whoever_had_it_done() {
    let folder = tempfile::tempdir().unwrap();
    let (runner, _) = service(folder.path(), Fault::Refused).await;
    runner.due(Job::CatalogSync, Utc::now()).await.unwrap_err();
    let state = runner.state.jobs().remove(&Job::CatalogSync).unwrap();
    assert_eq!((state.succeeded, state.failed), (0, 1));
}
