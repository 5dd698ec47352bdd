use revkeep_vault::Coverage;

use super::*;
use crate::testing::{store_base, store_segment, target};

/// Records that 24 to 26 are wrong, with a base whose history begins at `compact`; gives what is covered and what is
/// recorded as lost.
async fn after_distrust(compact: i64, pending: Option<i64>) -> (Vec<(i64, i64)>, Vec<(i64, i64)>) {
    let target = target().await;
    store_base(&target, 10, 1).await;
    for (first, last) in [(11, 20), (21, 30), (31, 40)] {
        store_segment(&target, first, last).await;
    }
    let head = HeadKeeper::new(Revision(10), Revision(1), Some(Revision(40)));
    let (gaps, recorder) = gaps(target.clone(), Arc::new(head));
    let recording = tokio::spawn(recorder.run());
    let pending = pending.map(Revision);
    gaps.wrong((Revision(24), Revision(26)), Revision(compact), pending)
        .await;
    gaps.recorded().await;
    store_base(&target, 45, compact).await;
    drop(gaps);
    recording.await.unwrap();
    let inventory = target.timeline.inventory().await.unwrap();
    let numbers = |(first, last): (Revision, Revision)| (first.0, last.0);
    let covered = Coverage::compute(&inventory).ranges;
    let records = inventory.gaps.iter().map(|gap| &gap.record);
    let lost = records.map(|gap| numbers((gap.first, gap.last))).collect();
    (covered.into_iter().map(numbers).collect(), lost)
}

/// Segments are dropped whole, and what follows them leads nowhere below the base's own history.
#[tokio::test]
async fn what_goes_with_distrusted_segments_is_recorded_too() {
    let (covered, mut lost) = after_distrust(36, None).await;
    assert_eq!(covered, [(1, 20), (36, 45)]);
    lost.sort_unstable();
    assert_eq!(lost, [(21, 35), (24, 26)]);
    // Of a segment that is on its way.
    let (_, lost) = after_distrust(36, Some(15)).await;
    assert!(lost.contains(&(15, 35)), "{lost:?}");
}

/// The base has all of it.
#[tokio::test]
async fn what_the_source_still_has_is_not_called_lost() {
    let (covered, lost) = after_distrust(5, None).await;
    assert_eq!(covered, [(1, 45)]);
    assert_eq!(lost, [(24, 26)]);
}
