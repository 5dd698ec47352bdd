//! Invariant "whole": gathers transactions until time or size says that a segment is due. Pure: the clock comes in.

use std::mem;
use std::time::Duration;

use revkeep_schemas::Revision;
use tokio::time::Instant;

use super::joiner::Transaction;
use crate::config::Dial;

/// A transaction and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The agent's clock when the transaction was complete, in milliseconds since 1970.
    pub unix_ms: i64,
    /// The transaction.
    pub transaction: Transaction,
}

/// Consecutive transactions, to become one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// The length of all rows in Revkeep's encoding.
    pub plain_bytes: usize,
    /// The transactions, one for each revision from `first` to `last`.
    pub transactions: Vec<Stamped>,
}

/// When a batch is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The longest time that a transaction waits.
    pub interval: Duration,
    /// The size at which a batch is sealed at once. A single revision may be larger.
    pub bytes: usize,
}

/// Gathers transactions. Holds at most [`Limits::bytes`] and one transaction.
#[derive(Debug)]
pub struct Batcher {
    limits: Dial<Limits>,
    open: Vec<Stamped>,
    /// Since when the oldest of them waits. Not its stamp, which is of a clock that people and NTP set back.
    since: Option<Instant>,
    plain_bytes: usize,
}

impl Batcher {
    /// An empty one.
    #[must_use]
    pub fn new(limits: impl Into<Dial<Limits>>) -> Self {
        Self {
            limits: limits.into(),
            open: Vec::new(),
            since: None,
            plain_bytes: 0,
        }
    }

    /// Adds the transaction that follows, seen at `unix_ms`; gives the batch that it filled.
    pub fn push(&mut self, transaction: Transaction, unix_ms: i64, now: Instant) -> Option<Batch> {
        self.plain_bytes += transaction.plain_bytes();
        self.since.get_or_insert(now);
        self.open.push(Stamped {
            unix_ms,
            transaction,
        });
        if self.plain_bytes >= self.limits.get().bytes {
            self.seal()
        } else {
            None
        }
    }

    /// When the open batch is due; `None` when there is nothing to seal, or that never comes.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.since?.checked_add(self.limits.get().interval)
    }

    /// Whether the revision is in the open batch.
    #[must_use]
    pub fn holds(&self, revision: Revision) -> bool {
        let first = self.open.first().map(|one| one.transaction.revision);
        let last = self.open.last().map(|one| one.transaction.revision);
        first <= Some(revision) && Some(revision) <= last
    }

    /// Seals the open batch whatever its age and size.
    pub fn seal(&mut self) -> Option<Batch> {
        let first = self.open.first()?.transaction.revision;
        let last = self.open.last()?.transaction.revision;
        self.since = None;
        Some(Batch {
            first,
            last,
            plain_bytes: mem::take(&mut self.plain_bytes),
            transactions: mem::take(&mut self.open),
        })
    }
}

#[cfg(test)]
mod tests;
