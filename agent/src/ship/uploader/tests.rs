use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_harness::{Fault, FaultyStore, Request};
use revkeep_schemas::Revision;
use tempfile::TempDir;

use super::*;
use crate::spool::Place;
use crate::testing::{segment, target_on};
use crate::turn::UploadPolicy;

const ROOM: u64 = 1 << 30;
/// What one put takes in the slow store.
const LATENCY: Duration = Duration::from_millis(500);

#[test]
fn a_large_segment_gets_longer() {
    let least = Duration::from_secs(30);
    assert_eq!(deadline(least, 1000), least);
    assert_eq!(deadline(least, 8 << 20), Duration::from_secs(62));
}

struct World {
    target: Target,
    spool: Arc<Spool>,
    head: Arc<HeadKeeper>,
    _state: TempDir,
}

impl World {
    /// A vault on this store that reaches to revision 1.
    async fn on(store: Arc<dyn object_store::ObjectStore>) -> Self {
        let target = target_on(store).await;
        let state = tempfile::tempdir().unwrap();
        let place = Place::of(&target);
        let spool = Spool::open(state.path(), place, ROOM).await.unwrap();
        let head = HeadKeeper::new(Revision(1), Revision::ZERO, Some(Revision(1)));
        Self {
            target,
            spool: Arc::new(spool),
            head: Arc::new(head),
            _state: state,
        }
    }

    fn uploader(&self, deadline: Duration) -> Uploader {
        Uploader {
            target: self.target.clone(),
            spool: Arc::clone(&self.spool),
            head: Arc::clone(&self.head),
            deadline: deadline.into(),
            turns: Turns::new(UploadPolicy::Always),
            proof: Proof::given(),
            yields: CancellationToken::new(),
        }
    }

    fn segment(&self, main: i64) -> SealedSegment {
        segment(&self.target.timeline, main, main)
    }

    /// The last revisions of all segments that the vault holds.
    async fn stored(&self) -> BTreeSet<i64> {
        let segments = self.target.timeline.segments().await.unwrap();
        segments.iter().map(|segment| segment.last.0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_up_no_segment_that_follows() {
    let slow = ThrottleConfig {
        wait_put_per_call: LATENCY,
        ..ThrottleConfig::default()
    };
    let world = World::on(Arc::new(ThrottledStore::new(InMemory::new(), slow))).await;
    let uploading = tokio::spawn(world.uploader(Duration::from_secs(30)).run());
    // One every 200 ms: more than one way at a time holds.
    let mut worst = Duration::ZERO;
    for main in 2..42 {
        world.spool.admit(world.segment(main)).await;
        let sealed = Instant::now();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if main == 30 {
            // In steady state, what was sealed now is durable one put later.
            world.head.reached(Revision(main)).await;
            worst = sealed.elapsed();
        }
    }
    assert!(worst <= LATENCY * 2, "{worst:?}");
    world.spool.close().await;
    uploading.await.unwrap();
    assert_eq!(world.head.durable(), Some(Revision(41)));
}

/// Runs a story of faults drawn from a seed, and looks whenever the durable revision moves.
async fn whatever_the_store_does(seed: u64, faults: f64) {
    let rng = Mutex::new(StdRng::seed_from_u64(seed));
    let failed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failed);
    let judge = move |request, path: &Path| {
        let mut rng = rng.lock().unwrap();
        if request != Request::Put
            || !path.as_ref().contains("/segments/")
            || !rng.random_bool(faults)
        {
            return None;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Some(match rng.random_range(0..6) {
            0 => Fault::Refused,
            1 => Fault::TimesOut,
            2 => Fault::AnswerLost,
            3 => Fault::AnswerHangs,
            4 => Fault::DoneLater,
            _ => Fault::Hangs,
        })
    };
    let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
    let world = World::on(Arc::new(store)).await;
    let uploading = tokio::spawn(world.uploader(Duration::from_millis(500)).run());
    let filling = async {
        for main in 2..60 {
            world.spool.admit(world.segment(main)).await;
            if main % 7 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        world.spool.close().await;
    };
    let looking = async {
        let mut reached = Revision(1);
        while reached < Revision(59) {
            world.head.beyond(Some(reached)).await;
            reached = world.head.durable().unwrap();
            let stored = world.stored().await;
            assert!(
                (2..=reached.0).all(|main| stored.contains(&main)),
                "{reached}: {stored:?}"
            );
        }
    };
    tokio::join!(filling, looking);
    uploading.await.unwrap();
    assert_eq!(world.stored().await, (2..60).collect());
    assert_eq!(world.spool.left(), Some((0, 0)));
    assert!(failed.load(Ordering::Relaxed) > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Nothing is called durable that is not in the store, or that follows what is not; and in the end all is there.
    #[test]
    fn durable_never_passes_what_is_not_stored(seed in any::<u64>(), faults in 0.1f64..0.5) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(whatever_the_store_does(seed, faults));
    }
}
