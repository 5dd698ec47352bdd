//! What is read of a vault, and when.

use std::time::Duration;

use revkeep_vault::TimelineId;
use revkeep_vault::verify::{Depth, VerifyOptions};

use super::everything_in_it::{Place, RECEIPTS, segments};

#[tokio::test]
async fn each_byte_is_read_once_a_period_and_new_ones_at_once() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    let options = VerifyOptions {
        period: Duration::from_secs(30 * 86_400),
        ..VerifyOptions::default()
    };
    let all = place
        .cluster
        .verify(&options, &mut ledger, &|_| {})
        .await
        .unwrap();
    let again = place
        .cluster
        .verify(&options, &mut ledger, &|_| {})
        .await
        .unwrap();
    let small = again.objects - again.chunks - again.segments - RECEIPTS;
    assert_eq!((all.read_objects, again.read_objects), (all.objects, small));
    let second = place.cluster.timeline(TimelineId(2)).await.unwrap();
    segments(&second, &[(261, 280)]).await;
    let new = place
        .cluster
        .verify(&options, &mut ledger, &|_| {})
        .await
        .unwrap();
    assert_eq!(new.read_objects, small + 1);

    // A limit is kept, and what it leaves is read by later runs.
    let mut ledger = place.ledger();
    let limited = VerifyOptions {
        max_bytes: all.bytes / 4,
        ..options
    };
    let mut read = 0;
    for run in 0.. {
        let part = place
            .cluster
            .verify(&limited, &mut ledger, &|_| {})
            .await
            .unwrap();
        read += part.read_objects - small;
        if part.left == 0 {
            assert!(run >= 2, "the limit cut it into parts");
            break;
        }
    }
    assert_eq!(read, new.chunks + new.segments + RECEIPTS);
    let listed = VerifyOptions {
        depth: Depth::Listed,
        ..VerifyOptions::default()
    };
    let quick = place
        .cluster
        .verify(&listed, &mut ledger, &|_| {})
        .await
        .unwrap();
    assert_eq!((quick.read_objects, quick.findings.len()), (small, 0));
}
