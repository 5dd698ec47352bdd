//! A transaction that changes keys.

use bytes::Bytes;
use prost::Message as _;
use revkeep_schemas::{
    etcd_api::mvccpb::{Event, KeyValue, event::EventType},
    kv,
};

use super::{
    Mvcc, RevisionEvents,
    index::{Change, History, KEYS_AT_ONCE, Span},
    read::Moment,
};
use crate::error::{Result, StoreError};

/// A change that is not visible yet.
pub(super) struct Staged {
    pub(super) change: Change,
    /// The row's value.
    row: Bytes,
    /// The same decoded, sharing its bytes.
    pub(super) kv: KeyValue,
    /// Created and version before it.
    before: (i64, i64),
}

/// A transaction under way. Its changes are in the index, where no reader looks yet, because they are above the current
/// revision. Dropped without [`Write::commit`], it takes them back.
pub(super) struct Write<'a> {
    store: &'a Mvcc,
    began_at: i64,
    compact: i64,
    staged: Vec<Staged>,
}

impl<'a> Write<'a> {
    pub(super) fn begin(store: &'a Mvcc) -> Self {
        let (began_at, compact) = store.revisions.both();
        Self {
            store,
            began_at,
            compact,
            staged: Vec::new(),
        }
    }

    /// What it reads: with its own changes, at the revision that they will have.
    pub(super) fn moment(&self) -> Moment<'_> {
        Moment {
            store: self.store,
            current: self.revision(),
            compact: self.compact,
            staged: &self.staged,
        }
    }

    /// The revision that it stands at: the next one if it has changed anything.
    pub(super) fn revision(&self) -> i64 {
        self.began_at + i64::from(!self.staged.is_empty())
    }

    /// The revision of its changes.
    pub(super) fn next_revision(&self) -> i64 {
        self.began_at + 1
    }

    fn next_change(&self, tombstone: bool) -> Result<Change> {
        let sub = u32::try_from(self.staged.len())
            .map_err(|_| StoreError::internal("a transaction with more than 2^32 changes"))?;
        Ok(Change {
            main: self.next_revision(),
            sub,
            tombstone,
        })
    }

    /// Puts a key (etcd, `kvstore_txn.go`, `put`).
    pub(super) fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Result<()> {
        let change = self.next_change(false)?;
        let mut index = self.store.index.write();
        let known = index.get_mut(key);
        let live = known.as_ref().and_then(|history| history.live());
        let (created, version) = live.map_or((change.main, 1), |(created, version)| {
            (created, version + 1)
        });
        let mut before = (0, 0);
        match known {
            Some(history) => {
                before = history.push(change, created, version);
            }
            None => index.insert(key, History::new(change, created, version)),
        }
        drop(index);
        let row = kv::KeyValue {
            key,
            create_revision: created,
            mod_revision: change.main,
            version,
            value,
            lease,
        };
        self.stage(change, row.encode().into(), before)
    }

    /// Deletes the keys of a span; returns how many there were.
    pub(super) fn delete(&mut self, span: Span<'_>) -> Result<usize> {
        let deleted_before = self.staged.len();
        let mut after: Option<Box<[u8]>> = None;
        loop {
            let mut found = Vec::new();
            let next = {
                let mut index = self.store.index.write();
                let mut change = self.next_change(true)?;
                index.visit_mut(span, after.as_deref(), |key, history| {
                    if history.live().is_some() {
                        let before = history.push(change, 0, 0);
                        found.push((change, kv::KeyValue::encode_tombstone(key), before));
                        // Nowhere near the bound: the next change checks it.
                        change.sub = change.sub.saturating_add(1);
                    }
                })
            };
            for (change, row, before) in found {
                self.stage(change, row.into(), before)?;
            }
            after = next;
            if after.is_none() {
                return Ok(self.staged.len() - deleted_before);
            }
        }
    }

    fn stage(&mut self, change: Change, row: Bytes, before: (i64, i64)) -> Result<()> {
        let kv = KeyValue::decode(row.clone())
            .map_err(|error| StoreError::internal_from("a row just made is not readable", error))?;
        self.staged.push(Staged {
            change,
            row,
            kv,
            before,
        });
        Ok(())
    }

    /// Makes the changes visible, all at once. Returns the revision that the store then stands at.
    pub(super) fn commit(mut self) -> Result<i64> {
        let revision = self.revision();
        if self.staged.is_empty() {
            return Ok(revision);
        }
        let rows = self.staged.iter();
        let rows = rows.map(|staged| (staged.change.row_key(), staged.row.clone()));
        self.store.backend.append_rows(rows)?;
        let staged = std::mem::take(&mut self.staged);
        self.store.leases.follow(
            staged
                .iter()
                .map(|staged| (&staged.kv.key, staged.kv.lease)),
        );
        let events = staged
            .into_iter()
            .map(|staged| event(staged.change, staged.kv));
        self.store.events.lock().push(RevisionEvents {
            revision,
            events: events.collect(),
        });
        self.store.revisions.set_current(revision);
        Ok(revision)
    }
}

/// The event of a change, as a watch sends it.
pub(super) fn event(change: Change, kv: KeyValue) -> Event {
    if change.tombstone {
        let kv = KeyValue {
            key: kv.key,
            mod_revision: change.main,
            ..KeyValue::default()
        };
        return Event {
            r#type: EventType::Delete.into(),
            kv: Some(kv),
            prev_kv: None,
        };
    }
    Event {
        r#type: EventType::Put.into(),
        kv: Some(kv),
        prev_kv: None,
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        for batch in self.staged.rchunks(KEYS_AT_ONCE) {
            let mut index = self.store.index.write();
            for staged in batch.iter().rev() {
                let (created, version) = staged.before;
                let left = index
                    .get_mut(&staged.kv.key)
                    .is_none_or(|history| history.pop(created, version));
                if !left {
                    index.remove(&staged.kv.key);
                }
            }
        }
    }
}
