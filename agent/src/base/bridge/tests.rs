use std::sync::Arc;

use super::*;
use crate::gap::gaps;
use crate::target::Target;
use crate::testing::{segment, target};

const MINUTE: Duration = Duration::from_secs(60);

struct World {
    target: Target,
    head: Arc<HeadKeeper>,
    gaps: Gaps,
}

impl World {
    /// A vault that reaches so far; a recorder of gaps runs.
    async fn at(durable: Option<i64>) -> Self {
        let target = target().await;
        let head = HeadKeeper::new(Revision::ZERO, Revision::ZERO, durable.map(Revision));
        let head = Arc::new(head);
        let (gaps, recorder) = gaps(target.clone(), Arc::clone(&head));
        tokio::spawn(recorder.run());
        Self { target, head, gaps }
    }

    fn bridge(&self) -> Bridge<'_> {
        Bridge {
            timeline: &self.target.timeline,
            head: &self.head,
            gaps: &self.gaps,
            spool: None,
            patience: MINUTE,
        }
    }

    /// What the vault holds as lost.
    async fn recorded(&self) -> Vec<(i64, i64)> {
        let inventory = self.target.timeline.inventory().await.unwrap();
        let gaps = inventory.gaps.iter().map(|gap| &gap.record);
        gaps.map(|gap| (gap.first.0, gap.last.0)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_base_whose_history_follows_is_not_held_up() {
    let world = World::at(Some(20)).await;
    let began = Instant::now();
    world.bridge().settle(Revision(21)).await.unwrap();
    world.bridge().settle(Revision::ZERO).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(world.recorded().await, []);
}

#[tokio::test(start_paused = true)]
async fn what_never_comes_is_recorded_before_the_base() {
    let world = World::at(Some(20)).await;
    world.gaps.lost(Revision(25), Revision(27)).await;
    world.bridge().settle(Revision(31)).await.unwrap();
    // Whoever is killed from here on has left these.
    assert_eq!(world.recorded().await, [(21, 24), (25, 27), (28, 30)]);
    assert_eq!(world.head.durable(), Some(Revision(20)));
    world.head.base(Revision(40), Revision(31));
    assert_eq!(world.head.durable(), Some(Revision(40)));
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_waited_for_as_long_as_anything_comes() {
    let world = World::at(Some(20)).await;
    let coming = async {
        let mut wanted = world.head.wanted();
        wanted
            .wait_for(|wanted| *wanted == Revision(30))
            .await
            .unwrap();
        for revision in 21..=30 {
            tokio::time::sleep(MINUTE / 2).await;
            world.head.segment(Revision(revision), Revision(revision));
        }
    };
    let (settled, ()) = tokio::join!(world.bridge().settle(Revision(31)), coming);
    settled.unwrap();
    assert_eq!(world.recorded().await, []);
}

/// A spool in which a segment waits.
async fn waiting(world: &World, state: &tempfile::TempDir, first: i64, last: i64) -> Spool {
    let place = crate::spool::Place::of(&world.target);
    let spool = Spool::open(state.path(), place, 1 << 20).await.unwrap();
    let segment = segment(&world.target.timeline, first, last);
    spool.admit(segment).await;
    spool
}

/// The store is away for an hour: what waits for it is not lost, nor what it leads to.
#[tokio::test]
async fn what_waits_for_the_store_is_not_lost() {
    let world = World::at(Some(20)).await;
    let state = tempfile::tempdir().unwrap();
    let spool = waiting(&world, &state, 21, 30).await;
    world.head.holds(Revision(31), Revision(40));
    tokio::time::pause();
    let bridge = Bridge {
        spool: Some(&spool),
        ..world.bridge()
    };
    let coming = async {
        tokio::time::sleep(60 * MINUTE).await;
        assert_eq!(world.recorded().await, []);
        let next = spool.next().await.unwrap();
        world.head.segment(Revision(21), Revision(30));
        spool.acknowledged(&next).await;
    };
    let began = Instant::now();
    let (settled, ()) = tokio::join!(bridge.settle(Revision(41)), coming);
    settled.unwrap();
    assert!(began.elapsed() >= 60 * MINUTE);
    world.head.base(Revision(50), Revision(41));
    assert_eq!(world.recorded().await, []);
    assert_eq!(world.head.durable(), Some(Revision(50)));
}

/// Nothing leads to what is stored behind it.
#[tokio::test]
async fn what_waits_behind_a_hole_leads_nowhere() {
    let world = World::at(Some(20)).await;
    let state = tempfile::tempdir().unwrap();
    let spool = waiting(&world, &state, 25, 30).await;
    world.head.holds(Revision(31), Revision(40));
    tokio::time::pause();
    let bridge = Bridge {
        spool: Some(&spool),
        ..world.bridge()
    };
    assert_eq!(
        bridge.unheld(Revision(41)),
        [(Revision(21), Revision(24)), (Revision(31), Revision(40))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_base_looks_for_the_one_of_another_agent() {
    let world = World::at(None).await;
    world.bridge().settle(Revision(31)).await.unwrap();
    assert_eq!(world.recorded().await, []);
    let facts = revkeep_vault::BaseFacts {
        revision: Revision(10),
        compact_revision: Revision(5),
        ..Default::default()
    };
    let timeline = &world.target.timeline;
    timeline.write_base(facts, NoRows, None).await.unwrap();
    world.bridge().settle(Revision(31)).await.unwrap();
    assert_eq!(world.recorded().await, [(11, 30)]);
}

struct NoRows;

impl revkeep_schemas::RowSource for NoRows {
    type Error = revkeep_schemas::FormatError;

    fn next_row(&mut self) -> Result<Option<revkeep_schemas::Row<'_>>, Self::Error> {
        Ok(None)
    }
}
