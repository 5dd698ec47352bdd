//! The rule of compaction.

use super::LiveIndex;
use crate::{FormatError, Revision, Row, RowKey, hashkv::TombstoneRule, kv::key_of};

/// A compaction at a revision C, as etcd's `scheduleCompaction` leaves the rows (etcd,
/// `server/storage/mvcc/key_index.go`): what is above C stays; at or below C the newest row of each key stays unless
/// it is a tombstone; and by [`TombstoneRule::Skipped`] a tombstone exactly at C stays.
///
/// Where one transaction deletes a key at C and then puts it again, the put stays. etcd's newer rule loses that put;
/// here a live key is never lost. [`HashView`](crate::hashkv::HashView) follows etcd, so hashes at C agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The compact revision, C.
    pub at: Revision,
    /// What happens to a tombstone at C.
    pub rule: TombstoneRule,
}

impl Compaction {
    /// Whether the row stays. `point` is the position of [`Compaction::at`] among the points of the index.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the row's value has no readable key.
    pub fn keeps(
        &self,
        row: &Row<'_>,
        index: &LiveIndex,
        point: usize,
    ) -> Result<bool, FormatError> {
        if let Some(kept) = self.keeps_unasked(row.key) {
            return Ok(kept);
        }
        let newest = index.newest(key_of(row.value)?, point);
        Ok(newest.is_none_or(|newest| newest == row.key))
    }

    /// The answer for rows that need no look at others of their key.
    fn keeps_unasked(&self, row: RowKey) -> Option<bool> {
        if row.main > self.at {
            return Some(true);
        }
        row.tombstone
            .then(|| self.rule == TombstoneRule::Skipped && row.main == self.at)
    }
}
