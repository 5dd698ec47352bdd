//! Vaults in memory, and what is stored in them, to test with.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::segment::SealedSegment;
use revkeep_schemas::{FormatError, Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, SourceIdentity, Timeline, Vault};

use crate::spool::{Folder, Place};
use crate::target::Target;

/// The rows of a base without any.
struct NoRows;

impl RowSource for NoRows {
    type Error = FormatError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Self::Error> {
        Ok(None)
    }
}

/// An empty timeline in a new vault in memory.
pub(crate) async fn target() -> Target {
    target_on(Arc::new(InMemory::new())).await
}

/// The same in a store.
pub(crate) async fn target_on(store: Arc<dyn ObjectStore>) -> Target {
    let vault = Vault::create_with_store(store, object_store::path::Path::from("v"))
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let source = SourceIdentity::default();
    let timeline = cluster.create_timeline(source, None).await.unwrap();
    Target { cluster, timeline }
}

/// Stores a base without rows.
pub(crate) async fn store_base(target: &Target, revision: i64, compact: i64) {
    let facts = BaseFacts {
        revision: Revision(revision),
        compact_revision: Revision(compact),
        ..BaseFacts::default()
    };
    store_base_of(&target.timeline, facts).await;
}

/// Stores a base without rows, which says this.
pub(crate) async fn store_base_of(timeline: &Timeline, facts: BaseFacts) {
    let written = timeline.write_base(facts, NoRows, None);
    written.await.unwrap();
}

/// A segment of `[first, last]` of a history that is the same in all up to a revision.
pub(crate) fn parting_segment(
    timeline: &Timeline,
    (first, last): (i64, i64),
    same_up_to: i64,
) -> SealedSegment {
    let mut writer = timeline.segment_writer(0, 1);
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
        writer.push_revision(&[row], main).unwrap();
    }
    writer.finish().unwrap()
}

/// A segment of `[first, last]`, of the one history that all have.
pub(crate) fn segment(timeline: &Timeline, first: i64, last: i64) -> SealedSegment {
    parting_segment(timeline, (first, last), i64::MAX)
}

/// Stores such a segment.
pub(crate) async fn store_segment(target: &Target, first: i64, last: i64) {
    let segment = segment(&target.timeline, first, last);
    target.timeline.put_segment(&segment).await.unwrap();
}

/// Puts a segment of a history that is the same up to a revision into the spool of nobody.
pub(crate) fn spool_segment(state: &Path, target: &Target, range: (i64, i64), same_up_to: i64) {
    let folder = Folder::open(state, Place::of(target)).unwrap().unwrap();
    let segment = parting_segment(&target.timeline, range, same_up_to);
    folder.write(&segment).unwrap();
}

/// The revisions of what waits in that spool.
pub(crate) fn spooled(state: &Path, target: &Target) -> Vec<(i64, i64)> {
    let names = Folder::names(state, &Place::of(target)).into_iter();
    names.map(|name| (name.first.0, name.last.0)).collect()
}

/// The revisions of the segments that are stored.
pub(crate) async fn stored(target: &Target) -> Vec<(i64, i64)> {
    let segments = target.timeline.segments().await.unwrap().into_iter();
    let ranges = segments.map(|segment| (segment.first.0, segment.last.0));
    ranges.collect()
}
