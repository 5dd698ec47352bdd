//! An open watch, and what is looked at before its events are taken in.

use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::{Revision, RowBuf};

use super::joiner::{Change, Joiner, Transaction};
use crate::AgentError;
use crate::source::{Member, Watch};

/// An open watch.
pub(super) struct Following {
    pub(super) member: Member,
    pub(super) watch: Watch,
    pub(super) joiner: Joiner,
    /// What the watch begins with.
    pub(super) expected: Expected,
    /// Events up to here come out of the source's history, and not as they happen; so do later ones where it lags.
    pub(super) history: Revision,
    /// Whether the first events were looked at.
    pub(super) begun: bool,
}

/// The transaction that was captured last, with which the watch begins: on the same stream as what follows it, so that
/// both are of one history. See [`crate::lineage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected(Option<(Revision, RowDigest)>);

impl Expected {
    pub(super) const fn new(revision: Revision, digest: Option<RowDigest>) -> Self {
        match digest {
            Some(digest) => Self(Some((revision, digest))),
            None => Self(None),
        }
    }

    /// The revision.
    pub(super) fn revision(self) -> Option<Revision> {
        self.0.map(|(revision, _)| revision)
    }

    /// Takes the transaction that was captured already, and passes on those that follow it.
    ///
    /// # Errors
    /// [`AgentError::Unlike`] when it is another one.
    pub(super) fn pass(
        &mut self,
        transaction: Transaction,
    ) -> Result<Option<Transaction>, AgentError> {
        let Some((revision, digest)) = self.0.take() else {
            return Ok(Some(transaction));
        };
        let rows = crate::lineage::digest(transaction.rows.iter().map(RowBuf::as_row));
        if transaction.revision != revision || rows != digest {
            return Err(AgentError::Unlike(revision));
        }
        Ok(None)
    }
}

impl Following {
    /// Makes sure that events out of the source's history are all that there were.
    ///
    /// A watch is refused from below the compact revision C, but not from C itself, of which the compaction has removed
    /// rows: deletions before etcd 3.5.16 and 3.4.34, and whatever the same revision changed again (etcd,
    /// `server/storage/mvcc/watchable_store.go` and `key_index.go`). An event after one that is missing would get a wrong
    /// `sub`. A base has C as it is, and nothing is lost.
    pub(super) async fn is_whole(
        &mut self,
        changes: &[Change],
        at: Revision,
    ) -> Result<(), AgentError> {
        let (Some(first), Some(newest)) = (changes.first(), changes.last()) else {
            return Ok(());
        };
        if self.begun && first.main > self.history && newest.main >= at {
            return Ok(());
        }
        self.begun = true;
        let last = self.joiner.last();
        match self.member.compacted_above(last).await? {
            // What was captured last may have fewer rows now: its keys were read back, and that is all that can be.
            Some((_, compact)) if Some(compact) == self.expected.revision() => {
                self.expected = Expected::default();
                self.joiner = Joiner::new(compact);
                Ok(())
            }
            // Compacted further, the watch would have been refused: that came later than these events.
            Some((_, compact)) if compact == last.next() => Err(AgentError::Compacted {
                wanted: last.next(),
                compact_revision: compact,
            }),
            _ => Ok(()),
        }
    }
}
