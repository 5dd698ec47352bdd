//! What was found once is told until it is mended or accepted, and nothing is accepted that was not told.

use std::time::Duration;

use revkeep_vault::verify::{Depth, Ledger, VerifyOptions};
use revkeep_vault::{Cluster, SourceIdentity, TimelineId, Vault};

use super::clock::{Shared, View};
use super::everything_in_it::{Place, base, named};

#[tokio::test]
async fn what_outlasts_its_deletion_has_to_be_there_from_then_on() {
    let place = Place::new().await;
    let (name, bytes) = place
        .deleted
        .iter()
        .find(|(name, _)| name.contains("/segments/"))
        .unwrap();
    let names = [name.clone()].into();
    assert!(place.cluster.has_swept_any(&names).await.unwrap());
    // The store kept it, as it does what is locked.
    place.write(name, bytes);
    assert!(!place.cluster.has_swept_any(&names).await.unwrap());
    let mut ledger = place.ledger();
    assert_eq!(place.verify(&mut ledger).await.findings, []);
    ledger.save().unwrap();
    place.remove(name);
    assert_eq!(named(&place.verify(&mut place.ledger()).await), [name]);
    // Who never saw it holds for deleted what the list of a round has.
    let folder = place.dir.path().join("none");
    let mut blank = Ledger::open(&folder, place.cluster.vault(), place.cluster.name()).unwrap();
    assert_eq!(place.verify(&mut blank).await.findings, []);

    // A base that was kept needs its chunks.
    let is_chunk = |name: &&String| name.contains("/chunks/");
    let chunk = place.deleted.keys().find(is_chunk).unwrap();
    let bases = place.deleted.iter();
    for (base, bytes) in bases.filter(|(name, _)| name.contains("/bases/")) {
        place.write(base, bytes);
    }
    let found = place.verify(&mut blank).await;
    assert!(named(&found).contains(&chunk.as_str()), "{found:#?}");
}

#[tokio::test]
async fn what_was_found_damaged_is_named_until_it_is_read_and_sound() {
    let place = Place::new().await;
    let objects = place.objects();
    let (name, right) = objects
        .iter()
        .find(|(name, _)| name.contains("0002/segments/0/"))
        .unwrap();
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 1;
    place.write(name, &wrong);
    let mut ledger = place.ledger();
    assert_eq!(named(&place.verify(&mut ledger).await), [name]);
    ledger.save().unwrap();
    let listed = VerifyOptions {
        depth: Depth::Listed,
        ..VerifyOptions::default()
    };
    let mut ledger = place.ledger();
    let quick = place.cluster.verify(&listed, &mut ledger, &|_| {});
    let quick = quick.await.unwrap();
    assert_eq!(named(&quick), [name]);
    assert!(quick.findings[0].reason.contains("before"));
    let receipt = quick.receipt(Duration::ZERO, None);
    assert!(!receipt.sound && receipt.summary.contains("listed alone"));
    // It is the first to be read, whatever else is due.
    let little = VerifyOptions {
        max_bytes: 1,
        ..VerifyOptions::default()
    };
    place.write(name, right);
    let mended = place.cluster.verify(&little, &mut ledger, &|_| {});
    let mended = mended.await.unwrap();
    assert_eq!(mended.findings, []);
    assert!(mended.left > 0);
    let left = format!("{} objects are due", mended.left);
    let receipt = mended.receipt(Duration::ZERO, None);
    assert!(receipt.summary.contains(&left), "{}", receipt.summary);
}

/// Wherever a run is ended: what it would have accepted is told by the next.
#[tokio::test]
async fn nothing_is_accepted_that_was_not_told() {
    let shared = Shared::new(1);
    let open = async |requests| {
        let view = View::new(&shared, requests);
        let vault = Vault::create_with_store(view.clone(), "v".into()).await;
        (view, vault.unwrap().cluster(&"prod".parse().unwrap()))
    };
    let (view, cluster) = open(usize::MAX).await;
    let timeline = cluster.create_timeline(SourceIdentity::default(), None);
    base(&timeline.await.unwrap(), 100, 0).await;
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), cluster.vault(), cluster.name()).unwrap();
    let verify = |cluster: Cluster, accept_missing| {
        let options = VerifyOptions {
            accept_missing,
            ..VerifyOptions::default()
        };
        async move |ledger: &mut Ledger| cluster.verify(&options, ledger, &|_| {}).await.unwrap()
    };
    let first = verify(cluster.clone(), false)(&mut ledger).await;
    ledger.save().unwrap();
    assert_eq!(first.findings, []);
    let timeline = cluster.timeline(TimelineId::FIRST).await.unwrap();
    let bases = timeline.inventory().await.unwrap().bases;
    let mut gone: Vec<_> = bases[0].manifest.chunks.iter().take(3).collect();
    gone.dedup();
    let gone: Vec<_> = gone
        .iter()
        .map(|chunk| cluster.chunk_object(chunk))
        .collect();
    assert_eq!(gone.len(), 3);
    for chunk in &gone {
        let path = object_store::path::Path::from(format!("v/{chunk}"));
        object_store::ObjectStoreExt::delete(&*view, &path)
            .await
            .unwrap();
    }
    let mut cut_off = 0;
    for requests in 3.. {
        let (view, part) = open(requests).await;
        let mut ledger = Ledger::open(dir.path(), cluster.vault(), cluster.name()).unwrap();
        let stopped = async {
            while !view.stopped() {
                tokio::task::yield_now().await;
            }
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
        };
        let accepting = verify(part, true);
        let ended = tokio::select! {
            found = accepting(&mut ledger) => Some(found),
            () = stopped => None,
        };
        if let Some(found) = ended {
            assert_eq!(found.findings.len(), 3);
            break;
        }
        cut_off += 1;
        let found = verify(cluster.clone(), false)(&mut ledger).await;
        assert_eq!(found.findings.len(), 3, "cut off after {requests} requests");
    }
    assert!(cut_off > 3);
}
