//! Invariants "contiguous", "whole" and "exact": from events to the rows that etcd itself wrote.
//!
//! Pure: no clock, no network. In a watch over all keys without filters,
//! - every revision after the first has at least one event, so a jump in `mod_revision` is a lost event;
//! - the position of an event inside its revision is the row's `sub`;
//! - a put's `kv` is the stored value, a delete's stored value holds the key alone;
//! - a response that is not marked as a fragment ends with a whole transaction
//!   (etcd, `server/storage/mvcc/watchable_store.go` and `server/etcdserver/api/v3rpc/watch.go`).

use std::mem;

use revkeep_schemas::{Revision, RowBuf, RowKey};

/// One event of the watch, as the row it becomes but for its place in the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The event's `kv.mod_revision`.
    pub main: Revision,
    /// Whether it deletes.
    pub tombstone: bool,
    /// The row's value: the marshalled `mvccpb.KeyValue`.
    pub value: bytes::Bytes,
    /// The lease the key is attached to, 0 for none.
    pub lease: i64,
}

/// All rows of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The revision.
    pub revision: Revision,
    /// Its rows, in the order of their `sub`.
    pub rows: Vec<RowBuf>,
    /// The leases that its rows name, with repetitions.
    pub leases: Vec<i64>,
}

impl Transaction {
    /// The length of its rows in Revkeep's encoding, in bytes.
    #[must_use]
    pub fn plain_bytes(&self) -> usize {
        self.rows.iter().map(|row| row.as_row().encoded_len()).sum()
    }
}

/// Why the stream cannot be continued. The caller watches again from the revision after [`Joiner::last`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Revisions are missing.
    #[error("events of revision {expected} are missing: the next event belongs to {found}")]
    Jump {
        /// The revision that had to follow.
        expected: Revision,
        /// The revision that came.
        found: Revision,
    },
    /// The server says that everything up to `claimed` was sent, which it was not.
    #[error(
        "the server reports progress at revision {claimed}, but events arrived only up to {last}"
    )]
    Progress {
        /// The revision in the header.
        claimed: Revision,
        /// The last complete revision.
        last: Revision,
    },
    /// The same change came twice inside one revision: the server sent a transaction again while it was incomplete.
    #[error("revision {revision} was sent twice while it was incomplete")]
    Repeated {
        /// The revision.
        revision: Revision,
    },
}

/// Joins events to whole transactions without a hole.
#[derive(Debug)]
pub struct Joiner {
    last: Revision,
    pending: Vec<RowBuf>,
    leases: Vec<i64>,
}

impl Joiner {
    /// Everything up to `last` is known already.
    #[must_use]
    pub const fn new(last: Revision) -> Self {
        Self {
            last,
            pending: Vec::new(),
            leases: Vec::new(),
        }
    }

    /// The last complete revision.
    #[must_use]
    pub const fn last(&self) -> Revision {
        self.last
    }

    /// Takes the next event; gives the transaction before it when this event begins another one.
    ///
    /// # Errors
    /// A [`Fault`] when the event does not continue the sequence; nothing of it is taken.
    pub fn push(&mut self, change: Change) -> Result<Option<Transaction>, Fault> {
        if change.main <= self.last {
            return Ok(None); // Delivered again: some versions of etcd repeat events after a reconnect.
        }
        let current = self.last.next();
        if change.main == current {
            self.append(change)?;
            return Ok(None);
        }
        let expected = if self.pending.is_empty() {
            current
        } else {
            current.next()
        };
        if change.main != expected {
            return Err(Fault::Jump {
                expected,
                found: change.main,
            });
        }
        let done = self.commit();
        self.append(change)?;
        Ok(done)
    }

    /// The response is at its end; a response that is no fragment completes the revision.
    pub fn end_of_response(&mut self, fragment: bool) -> Option<Transaction> {
        if fragment { None } else { self.commit() }
    }

    /// A response without events: everything up to `claimed` was sent.
    ///
    /// # Errors
    /// [`Fault::Progress`] when it was not received.
    pub fn progress(&self, claimed: Revision) -> Result<(), Fault> {
        if claimed > self.last {
            return Err(Fault::Progress {
                claimed,
                last: self.last,
            });
        }
        Ok(())
    }

    fn append(&mut self, change: Change) -> Result<(), Fault> {
        let repeated = self.pending.first().is_some_and(|first| {
            first.key.tombstone == change.tombstone && first.value == change.value
        });
        if repeated {
            return Err(Fault::Repeated {
                revision: change.main,
            });
        }
        if change.lease != 0 {
            self.leases.push(change.lease);
        }
        let sub = i64::try_from(self.pending.len()).unwrap_or(i64::MAX);
        self.pending.push(RowBuf {
            key: RowKey {
                main: change.main,
                sub,
                tombstone: change.tombstone,
            },
            value: change.value,
        });
        Ok(())
    }

    fn commit(&mut self) -> Option<Transaction> {
        if self.pending.is_empty() {
            return None;
        }
        self.last = self.last.next();
        Some(Transaction {
            revision: self.last,
            rows: mem::take(&mut self.pending),
            leases: mem::take(&mut self.leases),
        })
    }
}

#[cfg(test)]
mod tests;
