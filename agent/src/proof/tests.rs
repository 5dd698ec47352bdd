use std::sync::Mutex;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use revkeep_harness::{Fault, FaultyStore, Request};

use super::*;
use crate::testing::{store_base, store_segment, target, target_on};

/// Virtual time that is never too short.
const HOUR: Duration = Duration::from_secs(3600);

async fn found(target: &Target, durable: i64) -> bool {
    let proof = Proof::wanted();
    assert!(!proof.is_known());
    let basis = Basis {
        base: Revision(10),
        durable: Revision(durable),
    };
    let found = proof.seek(target, basis, &Monitor::default()).await;
    assert_eq!(proof.holds().await, found);
    found
}

#[tokio::test]
async fn only_what_was_remembered_and_all_of_it_is_taken_for_that() {
    let target = target().await;
    assert!(!found(&target, 10).await);
    store_base(&target, 10, 1).await;
    assert!(found(&target, 10).await);
    store_segment(&target, 11, 20).await;
    assert!(found(&target, 20).await);
    assert!(!found(&target, 10).await);
    // What is called durable is not there.
    assert!(!found(&target, 25).await);
    // Beyond a hole.
    store_segment(&target, 31, 40).await;
    assert!(!found(&target, 20).await);
}

/// What waits in the spool may hold it.
#[tokio::test]
async fn what_is_recorded_as_wrong_is_found() {
    let target = target().await;
    store_base(&target, 10, 1).await;
    store_segment(&target, 11, 20).await;
    let wrong = target
        .timeline
        .put_distrust(Revision(24), Revision(26), "wrong");
    wrong.await.unwrap();
    assert!(!found(&target, 20).await);
    store_base(&target, 30, 1).await;
    let basis = Basis {
        base: Revision(30),
        durable: Revision(30),
    };
    let proof = Proof::wanted();
    assert!(proof.seek(&target, basis, &Monitor::default()).await);
}

/// A vault with a base at 10 on a store whose listings meet a fault, as long as there is one.
async fn failing(fault: Fault) -> (Target, Arc<Mutex<Option<Fault>>>) {
    let fate: Arc<Mutex<Option<Fault>>> = Arc::default();
    let now = Arc::clone(&fate);
    let judge = move |request, _: &Path| {
        let now = *now.lock().unwrap();
        now.filter(|_| request == Request::List)
    };
    let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
    let target = target_on(Arc::new(store)).await;
    store_base(&target, 10, 1).await;
    *fate.lock().unwrap() = Some(fault);
    (target, fate)
}

/// Capture goes on meanwhile, into the spool, and people grant what is denied.
#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_the_store_answers() {
    for fault in [Fault::Refused, Fault::Denied, Fault::Hangs] {
        let (target, fate) = failing(fault).await;
        let finding = tokio::spawn(async move { found(&target, 10).await });
        tokio::time::sleep(HOUR).await;
        assert!(!finding.is_finished(), "{fault:?}");
        *fate.lock().unwrap() = None;
        // What hangs is asked again.
        let found = tokio::time::timeout(HOUR, finding).await;
        assert!(found.unwrap().unwrap(), "{fault:?}");
    }
}

/// No waiting makes it readable, and who opens the vault says so.
#[tokio::test(start_paused = true)]
async fn a_vault_that_cannot_be_read_is_opened_again() {
    let store = Arc::new(InMemory::new());
    let target = target_on(store.clone()).await;
    store_base(&target, 10, 1).await;
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    let base = objects
        .iter()
        .find(|meta| meta.location.as_ref().contains("/bases/"));
    let base = &base.unwrap().location;
    let mut bytes = store
        .get(base)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec();
    // The version of the envelope's format.
    bytes[8] = 0xff;
    store.put(base, Bytes::from(bytes).into()).await.unwrap();
    let found = tokio::time::timeout(HOUR, found(&target, 10)).await;
    assert!(!found.expect("it waits for what never comes"));
}
