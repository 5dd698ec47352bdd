//! On a store that fails, times out, loses answers, does late what it refused and lists late: what was acknowledged is
//! there, and nothing is claimed that is not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use revkeep_harness::{Fault, FaultyStore};
use revkeep_schemas::{Revision, RowBuf};
use revkeep_vault::{
    BaseFacts, Coverage, ErrorKind, Piece, ReadOptions, SourceIdentity, Timeline, Vault, VaultError,
};
use world::{Rows, SMALL, read_all, rows, segment, timeline};

/// More tries than there are faults.
const TRIES: usize = 200;

/// A store whose first requests meet these faults.
fn faulty(inner: &Arc<InMemory>, faults: Vec<Option<Fault>>) -> Arc<FaultyStore> {
    let next = AtomicUsize::new(0);
    let judge = move |_, _: &Path| {
        let at = next.fetch_add(1, Ordering::Relaxed);
        faults.get(at).copied().flatten()
    };
    Arc::new(FaultyStore::new(inner.clone(), judge))
}

/// Tries until it is acknowledged, as agents do. Any other error than one that says "try again" is a fault of ours.
async fn insist<T>(mut attempt: impl AsyncFnMut() -> Result<T, VaultError>) -> T {
    for _ in 0..TRIES {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{error}"),
        }
    }
    panic!("never acknowledged")
}

/// The same timeline, seen without faults.
async fn sound(inner: &Arc<InMemory>) -> Timeline {
    let vault = Vault::with_store(inner.clone(), Path::from("v"))
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let timelines = cluster.timelines().await.unwrap();
    assert_eq!(timelines.len(), 1);
    timelines.into_iter().next().unwrap()
}

async fn covered(timeline: &Timeline) -> Vec<(Revision, Revision)> {
    let inventory = timeline.inventory().await.unwrap();
    assert_eq!(inventory.damaged, []);
    Coverage::compute(&inventory).ranges
}

/// What the faulty view claims is there; it may see less.
async fn claims_only_what_is_there(seen: &Timeline, inner: &Arc<InMemory>) {
    let (claimed, cursor) = (seen.inventory().await, seen.cursor().await);
    let there = sound(inner).await.inventory().await.unwrap();
    let coverage = Coverage::compute(&there);
    if let Ok(claimed) = claimed {
        assert_eq!(claimed.damaged, []);
        for (first, last) in Coverage::compute(&claimed).ranges {
            for revision in (first.0..=last.0).map(Revision) {
                assert!(coverage.contains(revision), "{revision} is not there");
            }
        }
    }
    if let Ok(Some(cursor)) = cursor {
        assert!(
            coverage.contains(cursor),
            "the cursor {cursor} is not there"
        );
    }
}

async fn all_rows(timeline: &Timeline) -> Vec<RowBuf> {
    let inventory = timeline.inventory().await.unwrap();
    let base = &inventory.bases[0].manifest;
    let mut pieces: Vec<_> = base.chunks.iter().copied().map(Piece::Chunk).collect();
    let mut next = Revision(41);
    for entry in &inventory.segments {
        pieces.push(Piece::Segment {
            entry: entry.clone(),
            from: next,
            to: entry.last,
        });
        next = entry.last.next();
    }
    let reading = timeline.read_rows(pieces, ReadOptions::default());
    read_all(reading).await.unwrap()
}

async fn fill_a_vault(faults: Vec<Option<Fault>>, late: usize) {
    let inner = Arc::new(InMemory::new());
    let store = faulty(&inner, faults);
    let create = || Vault::create_with_store(store.clone(), Path::from("v"));
    let vault = insist(async || create().await).await;
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let source = SourceIdentity::default();
    let timeline = insist(async || cluster.create_timeline(source.clone(), None).await).await;
    assert_eq!(sound(&inner).await.record(), timeline.record());
    store.list_late_by(late);

    let all = rows(2..80, 300);
    let old = &all[..all.partition_point(|row| row.key.main.0 <= 40)];
    let facts = BaseFacts {
        revision: Revision(40),
        ..BaseFacts::default()
    };
    insist(async || {
        timeline
            .write_base_with(facts.clone(), Rows::of(old), None, SMALL)
            .await
    })
    .await;
    // Acknowledged is there at once, whatever a listing shows.
    assert_eq!(
        covered(&sound(&inner).await).await,
        [(Revision(1), Revision(40))]
    );
    claims_only_what_is_there(&timeline, &inner).await;
    for (first, last) in [(41, 50), (45, 60), (61, 79)] {
        let sealed = segment(&timeline, &all, first, last);
        insist(async || timeline.put_segment(&sealed).await).await;
        let end = covered(&sound(&inner).await).await[0].1;
        assert_eq!(end, Revision(last));
        claims_only_what_is_there(&timeline, &inner).await;
    }
    insist(async || timeline.put_gap(Revision(90), Revision(99), "lost").await).await;
    let sound = sound(&inner).await;
    let gaps = sound.inventory().await.unwrap().gaps;
    assert!(!gaps.is_empty());
    assert!(gaps.iter().all(|gap| gap.record.first == Revision(90)));
    assert_eq!(sound.inventory().await.unwrap().segments.len(), 3);
    assert_eq!(all_rows(&sound).await, all);
}

#[tokio::test]
async fn a_late_listing_hides_and_never_invents() {
    let store = faulty(&Arc::new(InMemory::new()), Vec::new());
    let timeline = timeline(store.clone()).await;
    let all = rows(2..60, 300);
    let facts = BaseFacts {
        revision: Revision(1),
        ..BaseFacts::default()
    };
    timeline
        .write_base(facts, Rows::of(&[]), None)
        .await
        .unwrap();
    for (first, last) in [(2, 20), (21, 40), (41, 59)] {
        let sealed = segment(&timeline, &all, first, last);
        timeline.put_segment(&sealed).await.unwrap();
    }
    for (late, cursor) in [(0, Some(59)), (1, Some(40)), (3, Some(1)), (4, None)] {
        store.list_late_by(late);
        let seen = timeline.cursor().await.unwrap();
        assert_eq!(seen, cursor.map(Revision), "{late} objects late");
    }
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Fault::Refused)),
        1 => Just(Some(Fault::TimesOut)),
        2 => Just(Some(Fault::AnswerLost)),
        1 => Just(Some(Fault::DoneLater)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_acknowledged_is_there_and_nothing_else_is_claimed(
        faults in proptest::collection::vec(fault(), 0..60),
        late in 0..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fill_a_vault(faults, late));
    }
}
