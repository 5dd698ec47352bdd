//! The rows of one key.

use revkeep_schemas::{Revision, RowKey};

/// A row, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Change {
    pub(crate) main: i64,
    pub(crate) sub: u32,
    pub(crate) tombstone: bool,
}

impl Change {
    pub(crate) fn row_key(self) -> RowKey {
        RowKey {
            main: Revision(self.main),
            sub: i64::from(self.sub),
            tombstone: self.tombstone,
        }
    }
}

/// The rows of a key that compaction has left, and what the next put needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    newest: Change,
    /// The revision that made the key, and its puts since; of the newest row, and without meaning for a tombstone.
    created: i64,
    version: i64,
    /// The rows before the newest, ascending. Boxed, because most keys have none and there are many keys.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every key")]
    older: Option<Box<Vec<Change>>>,
}

impl History {
    pub(crate) fn new(newest: Change, created: i64, version: i64) -> Self {
        Self {
            newest,
            created,
            version,
            older: None,
        }
    }

    pub(crate) fn newest(&self) -> Change {
        self.newest
    }

    /// Created and version of the key as it is now; `None` when it is deleted.
    pub(crate) fn live(&self) -> Option<(i64, i64)> {
        (!self.newest.tombstone).then_some((self.created, self.version))
    }

    /// The row of the key at a revision; `None` when it did not exist then. The revision must not be below the last
    /// compaction.
    pub(crate) fn at(&self, revision: i64) -> Option<Change> {
        let found = if self.newest.main <= revision {
            Some(self.newest)
        } else {
            let older = self.older.as_ref()?;
            let after = older.partition_point(|change| change.main <= revision);
            after
                .checked_sub(1)
                .and_then(|last| older.get(last))
                .copied()
        };
        found.filter(|change| !change.tombstone)
    }

    /// As [`History::at`], by etcd's word for HashKV (etcd, `key_index.go`, `keep`): a key that the revision itself deletes
    /// does not count as live, even where the same transaction puts it again.
    pub(crate) fn counted_at(&self, revision: i64) -> Option<Change> {
        let deletes = |change: &Change| change.tombstone && change.main == revision;
        let found = self.at(revision)?;
        let in_same =
            found.main == revision && self.older.iter().flat_map(|o| o.iter()).any(deletes);
        (!in_same).then_some(found)
    }

    /// Adds the next row; returns created and version before it.
    pub(crate) fn push(&mut self, change: Change, created: i64, version: i64) -> (i64, i64) {
        let before = std::mem::replace(&mut self.newest, change);
        self.older.get_or_insert_default().push(before);
        let before = (self.created, self.version);
        (self.created, self.version) = (created, version);
        before
    }

    /// Takes the newest row back; the key was `created` and `version` before it. Returns whether rows are left.
    pub(crate) fn pop(&mut self, created: i64, version: i64) -> bool {
        let Some(before) = self.older.as_mut().and_then(|older| older.pop()) else {
            return false;
        };
        if self.older.as_ref().is_some_and(|older| older.is_empty()) {
            self.older = None;
        }
        self.newest = before;
        self.created = created;
        self.version = version;
        true
    }

    /// Forgets what a compaction at `at` removes, and reports the rows at or below `at` that it keeps: the newest, if the
    /// key lives, and tombstones exactly at `at`, which etcd 3.5.16 and later keep for watches from there. Returns
    /// whether rows are left.
    ///
    /// Where one transaction deletes a key at `at` and puts it again, the put stays; etcd loses it.
    pub(crate) fn compact(&mut self, at: i64, kept: &mut Vec<Change>) -> bool {
        if self.older.is_none() {
            // Most keys, so without a move.
            let stays = self.newest.main > at || stays(self.newest, true, at);
            if stays && self.newest.main <= at {
                kept.push(self.newest);
            }
            return stays;
        }
        let newest_is_below = self.newest.main <= at;
        if let Some(older) = &mut self.older {
            let below = older.partition_point(|change| change.main <= at);
            let mut place = 0;
            older.retain(|change| {
                place += 1;
                let above = place > below;
                let newest = place == below && !newest_is_below;
                let stays = above || stays(*change, newest, at);
                if stays && !above {
                    kept.push(*change);
                }
                stays
            });
            if older.is_empty() {
                self.older = None;
            } else if older.len() * 4 < older.capacity() {
                older.shrink_to_fit();
            }
        }
        if !newest_is_below {
            return true;
        }
        if stays(self.newest, true, at) {
            kept.push(self.newest);
            return true;
        }
        // The newest is a tombstone below `at`, and so nothing before it stays.
        false
    }
}

/// Whether a row at or below `at` outlives a compaction there.
fn stays(change: Change, newest: bool, at: i64) -> bool {
    if change.tombstone {
        change.main == at
    } else {
        newest
    }
}

impl History {
    /// Adds rows of the same key that come after these.
    pub(crate) fn append(&mut self, later: &Self) {
        for change in later.older.iter().flat_map(|older| older.iter()) {
            self.push(*change, 0, 0);
        }
        self.push(later.newest, later.created, later.version);
    }
}
