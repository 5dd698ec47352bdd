use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Row, RowKey};
use revkeep_vault::{SourceIdentity, Vault};
use tempfile::TempDir;

use super::*;

struct World {
    target: Target,
    state: TempDir,
}

impl World {
    async fn new() -> Self {
        let vault = Vault::create_with_store(Arc::new(InMemory::new()), path::Path::from("v"))
            .await
            .unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        Self {
            target: Target { cluster, timeline },
            state: tempfile::tempdir().unwrap(),
        }
    }

    /// A segment of a history that is the same in all up to a revision.
    fn segment(&self, first: i64, last: i64, same_up_to: i64) -> SealedSegment {
        let mut writer = self.target.timeline.segment_writer(0, 1);
        for main in first..=last {
            let value = KeyValue {
                key: b"k",
                mod_revision: main,
                version: if main <= same_up_to { 1 } else { 2 },
                ..KeyValue::default()
            };
            let value = value.encode();
            let key = RowKey {
                main: Revision(main),
                sub: 0,
                tombstone: false,
            };
            let row = Row { key, value: &value };
            writer.push_revision(&[row], 1).unwrap();
        }
        writer.finish().unwrap()
    }

    async fn store(&self, first: i64, last: i64) {
        let segment = self.segment(first, last, 1000);
        self.target.timeline.put_segment(&segment).await.unwrap();
    }

    fn spool(&self, first: i64, last: i64, same_up_to: i64) {
        let folder = Folder::open(self.state.path(), Place::of(&self.target));
        let folder = folder.unwrap().unwrap();
        folder
            .write(&self.segment(first, last, same_up_to))
            .unwrap();
    }

    /// What is of the timeline, and what is left in the folder.
    async fn left(&self) -> (Vec<(i64, i64)>, usize) {
        let stored = self.target.timeline.segments().await.unwrap();
        let place = Place::of(&self.target);
        let waiting = Folder::names(self.state.path(), &place);
        let left = of_timeline(&self.target, &stored, self.state.path(), waiting);
        let left = left.await.unwrap().into_iter();
        let left = left.map(|name| (name.first.0, name.last.0)).collect();
        (left, Folder::names(self.state.path(), &place).len())
    }
}

#[tokio::test]
async fn what_was_captured_twice_of_one_history_stays() {
    let world = World::new().await;
    world.store(31, 40).await;
    world.spool(11, 20, 1000);
    world.spool(25, 35, 1000);
    world.spool(36, 50, 1000);
    assert_eq!(world.left().await, (vec![(11, 20), (25, 35), (36, 50)], 3));
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
    assert_eq!(world.left().await, (vec![(5, 9)], 1));
}
