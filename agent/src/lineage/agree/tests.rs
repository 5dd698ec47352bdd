use super::*;
use crate::testing::{spool_segment, spooled, store_segment, target};

struct World {
    target: Target,
    state: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self {
            target: target().await,
            state: tempfile::tempdir().unwrap(),
        }
    }

    async fn store(&self, first: i64, last: i64) {
        store_segment(&self.target, first, last).await;
    }

    fn spool(&self, first: i64, last: i64, same_up_to: i64) {
        spool_segment(self.state.path(), &self.target, (first, last), same_up_to);
    }

    /// What is of the timeline, which is what is left in the folder.
    async fn left(&self) -> Vec<(i64, i64)> {
        let trusted = self.target.timeline.trusted().await.unwrap();
        let place = Place::of(&self.target);
        let waiting = Folder::names(self.state.path(), &place);
        let left = of_timeline(&self.target, &trusted, self.state.path(), waiting);
        let left = left.await.unwrap().into_iter();
        let left: Vec<_> = left.map(|name| (name.first.0, name.last.0)).collect();
        assert_eq!(spooled(self.state.path(), &self.target), left);
        left
    }
}

#[tokio::test]
async fn what_was_captured_twice_of_one_history_stays() {
    let world = World::new().await;
    world.store(31, 40).await;
    world.spool(11, 20, 1000);
    world.spool(25, 35, 1000);
    world.spool(36, 50, 1000);
    assert_eq!(world.left().await, [(11, 20), (25, 35), (36, 50)]);
}

/// The source was set back to 25 while the store was away, and 31 to 40 had been stored before.
#[tokio::test]
async fn what_another_history_wrote_is_set_aside() {
    let world = World::new().await;
    world.store(31, 40).await;
    world.spool(5, 9, 1000);
    world.spool(21, 28, 25);
    world.spool(29, 35, 25);
    world.spool(36, 50, 25);
    assert_eq!(world.left().await, [(5, 9)]);
}

/// The newest of what is stored at the same revisions is gone, as what a merge has taken the place of.
#[tokio::test]
async fn where_one_stored_segment_cannot_be_read_another_is_compared() {
    let world = World::new().await;
    world.store(21, 35).await;
    world.store(31, 40).await;
    world.spool(28, 45, 25);
    let mut trusted = world.target.timeline.trusted().await.unwrap();
    for entry in &mut trusted.segments {
        if entry.first == Revision(31) {
            entry.uid = revkeep_vault::Uid(7);
        }
    }
    let waiting = Folder::names(world.state.path(), &Place::of(&world.target));
    let left = of_timeline(&world.target, &trusted, world.state.path(), waiting);
    assert_eq!(left.await.unwrap(), []);
}

/// Whatever holds any of it leads nowhere; what follows counts again after a base.
#[tokio::test]
async fn what_holds_distrusted_revisions_is_set_aside() {
    let world = World::new().await;
    world.store(11, 20).await;
    world.spool(21, 30, 1000);
    world.spool(31, 40, 1000);
    world.spool(41, 50, 1000);
    let timeline = &world.target.timeline;
    let wrong = timeline.put_distrust(Revision(29), Revision(33), "wrong");
    wrong.await.unwrap();
    assert_eq!(world.left().await, [(41, 50)]);
}
