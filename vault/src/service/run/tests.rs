use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_harness::{Fault, FaultyStore, Request};
use revkeep_schemas::manifest::ObjectList;

use super::*;
use crate::inventory::Damage;
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

/// What is logged while it runs.
fn logged(what: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let pen = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || pen.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, what);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_could_not_be_deleted_is_no_success() {
    let left = |at: usize| Damage {
        name: format!("segment-{at}"),
        reason: "it is locked".to_owned(),
    };
    let swept = |left: Vec<Damage>| Progress::Swept {
        round: 7,
        objects: ObjectList {
            bytes: 4_321,
            ..ObjectList::default()
        },
        deleted: 60,
        left,
    };
    let all = logged(|| tell("prod", &swept(Vec::new())));
    assert!(all.contains("objects=60 bytes=4321 left=0"), "{all}");
    assert!(!all.contains("WARN"), "{all}");
    let part = logged(|| tell("prod", &swept((0..NAMED + 5).map(left).collect())));
    assert!(part.contains("objects=60 left=25"), "{part}");
    let named: Vec<_> = part.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(named.len(), NAMED, "{part}");
    assert!(
        named[3].contains("segment-3") && named[3].contains("it is locked"),
        "{part}"
    );
}
