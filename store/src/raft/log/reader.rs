//! Reading the log: from the cache, or from the file.

use std::{fmt::Debug, ops::Bound, ops::Range, ops::RangeBounds, sync::Arc};

use openraft::{AnyError, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;

use super::{LogFile, cache::Cache, synced::Synced};
use crate::{
    executor::Executor,
    raft::types::{Entry, StorageError, Types},
};

/// How many bytes of entries one message to a follower carries, about.
const MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Reads entries for the state machine and for followers.
#[derive(Clone, Debug)]
pub(in crate::raft) struct Reader {
    pub(super) file: Arc<LogFile>,
    pub(super) cache: Arc<Mutex<Cache>>,
    pub(super) synced: Arc<Synced>,
    pub(super) executor: Executor,
}

impl Reader {
    /// The entries of a range of our own indexes.
    async fn read(
        &self,
        range: Range<u64>,
        limit_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (cached, newest) = {
            let cache = self.cache.lock();
            (cache.entries(&range, limit_bytes), cache.last())
        };
        if let Some(entries) = cached {
            return Ok(entries);
        }
        // What is not on the disk yet is in the cache.
        let wanted = newest.map_or(0, |newest| newest.min(range.end.saturating_sub(1)));
        let synced = self.synced.reached(wanted).await;
        synced.map_err(|error| StorageIOError::read_logs(AnyError::new(&error)))?;
        let file = Arc::clone(&self.file);
        let entries = self
            .executor
            .run(move || file.entries(range, limit_bytes))
            .await;
        entries
            .and_then(|entries| entries)
            .map_err(|error| StorageIOError::read_logs(AnyError::new(&error)).into())
    }
}

/// Our own indexes are the library's plus one.
fn own<RB: RangeBounds<u64>>(range: &RB) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => start.saturating_add(1),
        Bound::Excluded(start) => start.saturating_add(2),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(2),
        Bound::Excluded(end) => end.saturating_add(1),
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<Types> for Reader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(own(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(own(&(start..end)), MESSAGE_BYTES).await
    }
}
