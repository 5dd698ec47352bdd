//! What a store refuses to delete is named and tried again, and what went is counted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[path = "world/clock.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod clock;
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use clock::{Denial, Shared, View};
use revkeep_schemas::Revision;
use revkeep_vault::retention::{Progress, Rules};
use revkeep_vault::{BaseFacts, Cluster, Damage, ErrorKind, VaultError};
use world::{Rows, SMALL, rows, segment, timeline};

/// A cluster of which two bases and two segments go, a call of `apply` after they are marked.
async fn marked() -> (Arc<Shared>, Cluster) {
    let shared = Shared::new(1);
    let timeline = timeline(View::new(&shared, usize::MAX)).await;
    let all = rows(2..400, 200);
    for (base, segments) in [(100, vec![101, 151]), (200, vec![]), (300, vec![])] {
        let there: Vec<_> = all
            .iter()
            .filter(|row| row.key.main.0 <= base)
            .cloned()
            .collect();
        let facts = BaseFacts {
            revision: Revision(base),
            ..BaseFacts::default()
        };
        let written = timeline.write_base_with(facts, Rows::of(&there), None, SMALL);
        written.await.unwrap();
        for first in segments {
            let sealed = segment(&timeline, &all, first, first + 49);
            timeline.put_segment(&sealed).await.unwrap();
        }
        shared.advance(TimeDelta::days(9));
    }
    let cluster = timeline.cluster().clone();
    assert!(matches!(
        apply(&cluster).await.unwrap(),
        Progress::Marked { .. }
    ));
    (shared, cluster)
}

async fn apply(cluster: &Cluster) -> Result<Progress, VaultError> {
    let rules = Rules {
        window: TimeDelta::days(1),
        daily: 0,
        monthly: 0,
        minimum: 1,
        grace: TimeDelta::zero(),
        ..Rules::default()
    };
    cluster.apply_retention(&rules, &Utc).await
}

/// How many were to go, how many went, and what is left.
async fn swept(cluster: &Cluster) -> (usize, usize, Vec<Damage>) {
    match apply(cluster).await.unwrap() {
        Progress::Swept {
            objects,
            deleted,
            left,
            ..
        } => (objects.objects(), deleted, left),
        other => panic!("nothing was swept: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_refused_is_named_and_goes_with_a_later_round() {
    for (part, refused) in [("/segments/", 2), ("/bases/", 2), ("/chunks/", 0)] {
        let (shared, cluster) = marked().await;
        shared.deny(Some((part, Denial::Permission)));
        let (all, deleted, left) = swept(&cluster).await;
        assert!(left.iter().all(|damage| damage.name.contains(part)));
        assert!(left.iter().all(|damage| damage.reason.contains("denied")));
        assert!(left.len() == refused || part == "/chunks/" && !left.is_empty());
        // A base that stays keeps its chunks.
        let beside = part == "/bases/";
        assert_eq!(
            deleted + left.len() < all,
            beside,
            "{part}: {deleted} of {all}"
        );

        shared.deny(None);
        assert!(matches!(
            apply(&cluster).await.unwrap(),
            Progress::Marked { .. }
        ));
        let (rest, went, left) = swept(&cluster).await;
        assert_eq!((rest, went, left.len()), (all - deleted, all - deleted, 0));
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_end_it_and_the_round_goes_on_afterwards() {
    let (shared, cluster) = marked().await;
    shared.deny(Some(("/segments/", Denial::Credentials)));
    for _ in 0..2 {
        let error = apply(&cluster).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("credentials"), "{error}");
    }
    shared.deny(None);
    let (all, deleted, left) = swept(&cluster).await;
    assert_eq!((deleted, left.len()), (all, 0));
}
