//! The promise: a put that is not answered is settled by reading back, and who starts while the store is away writes into
//! the vault that it knew and into no other.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_harness::{Fault, FaultyStore, Request};
use revkeep_vault::{ErrorKind, Timeline, Vault, VaultId};
use world::{rows, segment, timeline};

const PREFIX: &str = "some/prefix";
const DEADLINE: Duration = Duration::from_millis(300);

/// The same timeline on a store of which the n-th put of a segment meets the n-th fault.
async fn on_a_faulty_store(inner: &Arc<InMemory>, faults: Vec<Option<Fault>>) -> Timeline {
    let next = AtomicUsize::new(0);
    let judge = move |request, path: &Path| {
        if request != Request::Put || !path.as_ref().contains("/segments/") {
            return None;
        }
        let at = next.fetch_add(1, Ordering::Relaxed);
        faults.get(at).copied().flatten()
    };
    let store = Arc::new(FaultyStore::new(inner.clone(), judge));
    let vault = Vault::with_store(store, Path::from(PREFIX)).await.unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    cluster.newest_timeline().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_put_without_an_answer_is_settled_by_reading_back() {
    let inner = Arc::new(InMemory::new());
    let sound = timeline(inner.clone()).await;
    let faults = vec![
        Some(Fault::Hangs),
        Some(Fault::AnswerHangs),
        Some(Fault::AnswerHangs),
    ];
    let timeline = on_a_faulty_store(&inner, faults).await;
    let rows = rows(2..20, 50);
    let first = segment(&timeline, &rows, 2, 9);
    // Neither answered nor done: it is not in the store, and nobody says that it is.
    let error = timeline
        .put_segment_within(&first, DEADLINE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(sound.inventory().await.unwrap().segments.is_empty());
    // Done and not answered: what is read back is the same.
    let stored = timeline.put_segment_within(&first, DEADLINE).await.unwrap();
    assert!(stored.existed);
    // The same again where the object was there before: a process that died before it heard the answer.
    let stored = timeline.put_segment_within(&first, DEADLINE).await.unwrap();
    assert!(stored.existed);
    assert_eq!(sound.inventory().await.unwrap().segments.len(), 1);
}

/// The timeline as somebody knows it who did not ask the store.
fn known(timeline: &Timeline, store: Arc<FaultyStore>, id: VaultId) -> Timeline {
    let vault = Vault::known_with_store(store, Path::from(PREFIX), id);
    let cluster = vault.cluster(timeline.cluster().name());
    cluster.known_timeline(timeline.id(), timeline.record().clone())
}

#[tokio::test]
async fn a_vault_that_is_known_is_asked_before_the_first_write() {
    let inner = Arc::new(InMemory::new());
    let sound = timeline(inner.clone()).await;
    let rows = rows(2..20, 50);
    let away = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&away);
    let judge = move |request, _: &Path| {
        // Puts would work: the vault must be asked first.
        let gone = request == Request::Get && seen.load(Ordering::Relaxed);
        gone.then_some(Fault::Refused)
    };
    let store = Arc::new(FaultyStore::new(inner.clone(), judge));

    let id = sound.cluster().vault().id();
    let same = known(&sound, Arc::clone(&store), id);
    let other = known(&sound, store, VaultId([1; 16]));
    let (ours, foreign) = (segment(&same, &rows, 2, 9), segment(&other, &rows, 2, 9));
    let error = same.put_segment(&ours).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    away.store(false, Ordering::Relaxed);
    let error = other.put_segment(&foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(sound.inventory().await.unwrap().segments.is_empty());
    assert!(!same.put_segment(&ours).await.unwrap().existed);
    // It was asked once and for all.
    away.store(true, Ordering::Relaxed);
    let next = segment(&same, &rows, 10, 12);
    same.put_segment(&next).await.unwrap();
    away.store(false, Ordering::Relaxed);
    assert_eq!(sound.cursor().await.unwrap(), None);
    assert_eq!(sound.inventory().await.unwrap().segments.len(), 2);
}

#[tokio::test]
async fn nothing_is_written_where_the_vault_is_gone() {
    let inner = Arc::new(InMemory::new());
    let sound = timeline(inner).await;
    let empty = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), |_, _| None));
    let gone = known(&sound, empty, sound.cluster().vault().id());
    let segment = segment(&gone, &rows(2..5, 50), 2, 4);
    let error = gone.put_segment(&segment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}
