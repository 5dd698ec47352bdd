//! Knowing the keys again after a start.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use revkeep_schemas::{
    FormatError, Row, RowKey, RowSource as _,
    boltdb::{FINISHED_COMPACT_REV, SCHEDULED_COMPACT_REV},
    kv::KeyValue,
};

use super::{
    index::{Change, History, KeyTree},
    revisions::{FIRST_REVISION, NEVER_COMPACTED},
};
use crate::{
    backend::{Backend, Bucket},
    error::{Result, StoreError},
    lease::LeaseState,
};

/// Rows that are gathered before they go into the tree: sorted, they go in much faster than one by one.
const ROWS_AT_ONCE: usize = 1 << 20;

/// What a start finds.
pub(super) struct Loaded {
    pub(super) index: KeyTree,
    pub(super) leases: LeaseState,
    pub(super) current: i64,
    /// The compaction that was finished.
    pub(super) compact: i64,
    /// A compaction that was begun and not finished.
    pub(super) scheduled: Option<i64>,
}

/// Reads all rows (etcd, `kvstore.go`, `restore`).
pub(super) fn load(backend: &Arc<Backend>, min_lease_ttl_s: i64) -> Result<Loaded> {
    let scheduled = read_revision(backend, SCHEDULED_COMPACT_REV)?;
    let finished = read_revision(backend, FINISHED_COMPACT_REV)?;
    let leases = LeaseState::load(backend, min_lease_ttl_s)?;
    let mut rows = backend.latest().all_rows()?;
    let mut gathered = Gathered::default();
    let mut last = FIRST_REVISION;
    while let Some(row) = rows.next_row()? {
        last = last.max(row.key.main.0);
        gathered
            .take(&row)
            .map_err(|error| damaged(row.key, &error))?;
    }
    let (index, attached) = gathered.finish();
    for (key, lease) in attached {
        // A lease that is gone leaves the key for ever, as in etcd.
        leases.attach(lease, &Bytes::from(key));
    }
    // The last rows may be deletions that compaction has removed.
    let known = [Some(last), scheduled, finished].into_iter().flatten();
    let compact = finished.unwrap_or(NEVER_COMPACTED);
    Ok(Loaded {
        index,
        leases,
        current: known.fold(FIRST_REVISION, i64::max),
        compact,
        scheduled: scheduled.filter(|scheduled| *scheduled > compact),
    })
}

/// A revision of the bucket `meta`.
pub(super) fn read_revision(backend: &Backend, name: &'static [u8]) -> Result<Option<i64>> {
    let value = backend.get(Bucket::Meta, &Bytes::from_static(name))?;
    let key = value.map(|value| RowKey::decode(&value)).transpose();
    let key = key.map_err(|error| {
        let name = String::from_utf8_lossy(name);
        StoreError::damaged(format!("meta entry {name}"), error.to_string())
    })?;
    Ok(key.map(|key| key.main.0))
}

fn damaged(key: RowKey, error: &FormatError) -> StoreError {
    StoreError::damaged(
        format!("row {}_{}", key.main, key.sub),
        format!(
            "{error}: remove this member from the cluster and add it again, or restore a snapshot"
        ),
    )
}

type Found = (Box<[u8]>, History);

/// Rows on their way into the tree.
#[derive(Default)]
struct Gathered {
    tree: Option<KeyTree>,
    rows: Vec<Found>,
    leases: HashMap<Box<[u8]>, i64>,
}

impl Gathered {
    fn take(&mut self, row: &Row<'_>) -> Result<(), FormatError> {
        let kv = KeyValue::decode(row.value)?;
        let sub = u32::try_from(row.key.sub).map_err(|_| {
            FormatError::unsupported("row", "its transaction has more than 2^32 changes")
        })?;
        let change = Change {
            main: row.key.main.0,
            sub,
            tombstone: row.key.tombstone,
        };
        if kv.lease != 0 && !change.tombstone {
            self.leases.insert(kv.key.into(), kv.lease);
        } else if !self.leases.is_empty() {
            self.leases.remove(kv.key);
        }
        let history = History::new(change, kv.create_revision, kv.version);
        self.rows.push((kv.key.into(), history));
        if self.rows.len() >= ROWS_AT_ONCE {
            self.merge();
        }
        Ok(())
    }

    /// Sorts what was gathered by key, rows of a key staying in order, and puts it into the tree.
    fn merge(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.dedup_by(|(key, next), (kept, history)| {
            let same = key == kept;
            if same {
                history.append(next);
            }
            same
        });
        match &mut self.tree {
            None => self.tree = Some(KeyTree::from_keys(rows)),
            Some(tree) => {
                for (key, history) in rows {
                    match tree.get_mut(&key) {
                        Some(known) => known.append(&history),
                        None => tree.insert(&key, history),
                    }
                }
            }
        }
    }

    fn finish(mut self) -> (KeyTree, HashMap<Box<[u8]>, i64>) {
        self.merge();
        (self.tree.unwrap_or_default(), self.leases)
    }
}
