//! The history, as watches send it.

use prost::Message as _;
use revkeep_schemas::{
    Revision, RowKey,
    etcd_api::mvccpb::{Event, KeyValue},
};

use super::{Mvcc, index::Change, write::event};
use crate::error::{Result, StoreError};

/// The changes of one revision, in the order of their sub numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionEvents {
    /// The revision.
    pub revision: i64,
    /// Its changes; they share their bytes with the rows.
    pub events: Vec<Event>,
}

/// A page of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// Whole revisions, ascending.
    pub revisions: Vec<RevisionEvents>,
    /// Where the next page begins. Above the current revision when this page reached it.
    pub next: i64,
}

impl Mvcc {
    /// The changes from `from` on: at most `limit_revisions` revisions, and no further revision once `limit_bytes` bytes
    /// of rows are gathered. A revision is never split, so one page can be as large as one transaction.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when changes from `from` on may have been removed: ask
    /// [`compact_revision`](Self::compact_revision) for how far.
    pub fn events(
        &self,
        from: i64,
        limit_revisions: usize,
        limit_bytes: usize,
    ) -> Result<EventPage> {
        let _installing = self.installing.read();
        // First the revision, then the view: a revision is the current one once its rows are there. Then the check: rows
        // are removed only after the compact revision has moved.
        let current = self.revisions.current();
        let view = self.backend.latest();
        if from < self.revisions.compact() {
            return Err(StoreError::Compacted);
        }
        let first = RowKey {
            main: Revision(from.max(0)),
            sub: 0,
            tombstone: false,
        };
        let last = RowKey {
            main: Revision(current),
            sub: i64::MAX,
            tombstone: true,
        };
        let mut rows = view.rows(first, last)?;
        let mut revisions: Vec<RevisionEvents> = Vec::new();
        let mut bytes = 0;
        while let Some((key, row)) = rows.next_owned()? {
            let revision = key.main.0;
            let begins = revisions
                .last()
                .is_none_or(|last| last.revision != revision);
            if begins {
                let full = revisions.len() >= limit_revisions || bytes >= limit_bytes;
                if full && !revisions.is_empty() {
                    return Ok(EventPage {
                        revisions,
                        next: revision,
                    });
                }
                revisions.push(RevisionEvents {
                    revision,
                    events: Vec::new(),
                });
            }
            bytes += row.len();
            if row.is_empty() {
                // The mark of a restore that bumped the revision; no key has changed.
                continue;
            }
            let kv = KeyValue::decode(row).map_err(|error| {
                let place = format!("row {}_{}", key.main, key.sub);
                StoreError::damaged(place, error.to_string())
            })?;
            let change = Change {
                main: revision,
                sub: 0,
                tombstone: key.tombstone,
            };
            if let Some(last) = revisions.last_mut() {
                last.events.push(event(change, kv));
            }
        }
        Ok(EventPage {
            revisions,
            next: current.max(from - 1) + 1,
        })
    }

    /// The changes since this was last called, for watches that have seen all before. The writer calls it after each
    /// entry of the log: they wait in memory until then.
    pub fn take_events(&self) -> Vec<RevisionEvents> {
        std::mem::take(&mut *self.events.lock())
    }
}
