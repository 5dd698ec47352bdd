//! Where events come from that are no longer on their way.

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::RangeRequest;
use revkeep_schemas::etcd_api::mvccpb::KeyValue;

use crate::error::{Result, StoreError};
use crate::mvcc::{EventPage, Mvcc};

/// The store's history, as the watchers read it.
pub trait History: Send + Sync + 'static {
    /// The newest revision.
    fn revision(&self) -> i64;

    /// The revision of the last compaction: no watcher can start before it.
    fn compact_revision(&self) -> i64;

    /// The events from revision `from` on, whole revisions in order, of at most `max_revisions` revisions, and no further
    /// revision once `max_bytes` are reached. The page ends behind the newest revision when it has all the rest.
    ///
    /// # Errors
    /// [`StoreError::Compacted`](crate::StoreError::Compacted) when events at or above `from` may be gone.
    fn events(&self, from: i64, max_revisions: usize, max_bytes: usize) -> Result<EventPage>;

    /// What a key was at a revision; `None` when it was not there or the revision is compacted.
    ///
    /// # Errors
    /// When that cannot be read.
    fn value_at(&self, key: &Bytes, revision: i64) -> Result<Option<KeyValue>>;
}

impl History for Mvcc {
    fn revision(&self) -> i64 {
        self.revision()
    }

    fn compact_revision(&self) -> i64 {
        self.compact_revision()
    }

    fn events(&self, from: i64, max_revisions: usize, max_bytes: usize) -> Result<EventPage> {
        self.events(from, max_revisions, max_bytes)
    }

    fn value_at(&self, key: &Bytes, revision: i64) -> Result<Option<KeyValue>> {
        let request = RangeRequest {
            key: key.clone(),
            revision,
            ..RangeRequest::default()
        };
        match self.range(&request) {
            Ok(mut found) => Ok(found.kvs.pop()),
            Err(StoreError::Compacted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
