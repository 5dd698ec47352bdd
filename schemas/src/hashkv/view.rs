//! Which rows count.

use std::collections::HashSet;

use super::{HashKv, TombstoneRule};
use crate::{FormatError, Revision, Row, RowKey, compaction::LiveIndex, kv::key_of};

/// The filter of HashKV at revision R on a server that stands at compact revision C.
///
/// 1. Rows above R do not count.
/// 2. At or below C a row counts only if it is the live row of its key at R: the newest at or below R, and no
///    tombstone. When *no key at all* is live at R this step is off, and every row that is still there counts. By
///    [`TombstoneRule::Skipped`] a key that was deleted at R is not live here, even where the same transaction puts it
///    again after that.
/// 3. By [`TombstoneRule::Skipped`] a tombstone exactly at C does not count.
/// 4. All others count, tombstones between C and R too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashFilter {
    /// The revision asked, R.
    pub revision: Revision,
    /// The compact revision, C; `None` on a server that was never compacted.
    pub compacted: Option<Revision>,
    /// What the server's version does with a tombstone at C.
    pub rule: TombstoneRule,
}

impl HashFilter {
    /// Whether a row counts, by the key of its user key's newest row at or below R (`None` when that is the row
    /// itself), and whether any key is live at R.
    #[must_use]
    pub fn counts(&self, row: RowKey, newest: Option<RowKey>, any_live: bool) -> bool {
        self.among_present(row) && (!any_live || self.above_compaction(row) || is_live(row, newest))
    }

    /// Steps 1 and 3: those that do not ask about the key.
    fn among_present(&self, row: RowKey) -> bool {
        let skipped = self.rule == TombstoneRule::Skipped
            && row.tombstone
            && self.compacted == Some(row.main);
        row.main <= self.revision && !skipped
    }

    fn above_compaction(&self, row: RowKey) -> bool {
        self.compacted.is_none_or(|compacted| row.main > compacted)
    }
}

/// Whether the row is the live one of its key.
fn is_live(row: RowKey, newest: Option<RowKey>) -> bool {
    !row.tombstone && newest.is_none_or(|newest| newest == row)
}

/// HashKV over a stream of rows, in one pass and without knowing beforehand whether any key is live at R.
///
/// Until the first live row it folds both ways: the hash of an empty keep set, and that of a full one. For a server that
/// was never compacted both are the same, and no row's key is looked up.
#[derive(Clone, Debug)]
pub struct HashView {
    filter: HashFilter,
    kept: HashKv,
    /// The fold without step 2, as long as no live row was seen and both can differ.
    present: Option<HashKv>,
    /// The keys that were deleted at R, by the index's hash, where that matters.
    deleted: HashSet<u128>,
}

impl HashView {
    /// Starts a fold.
    #[must_use]
    pub fn new(filter: HashFilter) -> Self {
        Self {
            filter,
            kept: HashKv::new(),
            present: filter.compacted.map(|_| HashKv::new()),
            deleted: HashSet::new(),
        }
    }

    /// Starts a fold with the first row after those of another, which takes it by [`HashView::join`]. It begins with a
    /// revision: the rows of one are not split.
    #[must_use]
    pub fn continued(filter: HashFilter) -> Self {
        Self {
            filter,
            kept: HashKv::continued(),
            present: filter.compacted.map(|_| HashKv::continued()),
            deleted: HashSet::new(),
        }
    }

    /// Appends the rows of a fold by the same filter that was [continued](HashView::continued) after this one's.
    pub fn join(&mut self, next: Self) {
        self.kept.join(next.kept);
        self.present = self
            .present
            .take()
            .zip(next.present)
            .map(|(mut all, next)| {
                all.join(next);
                all
            });
    }

    /// Takes the next row, in ascending order. `index`, always the same one, has to know every row above its floor up to
    /// R, and `point` is the position of R among its points; where the server was never compacted, neither is looked at.
    ///
    /// Memory grows by some 20 bytes for each key that is deleted at R itself.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the row's value has no readable key.
    pub fn update(
        &mut self,
        row: &Row<'_>,
        index: &LiveIndex,
        point: usize,
    ) -> Result<(), FormatError> {
        let revived = self.revives(row, index)?;
        if !self.filter.among_present(row.key) {
            return Ok(());
        }
        let above = self.filter.above_compaction(row.key);
        let mut live = false;
        if !revived && (!above || self.present.is_some()) {
            let newest = index.newest(key_of(row.value)?, point);
            live = is_live(row.key, newest);
        }
        if live {
            self.present = None;
        }
        if above || live {
            self.kept.update(row);
        }
        if let Some(present) = &mut self.present {
            present.update(row);
        }
        Ok(())
    }

    /// Whether the row puts a key that its own transaction has deleted before it, at R, where that matters. etcd's newer
    /// rule stops at the generation of the key that ends at R, and does not see the one that begins there (etcd,
    /// `server/storage/mvcc/key_index.go`, `keep`).
    fn revives(&mut self, row: &Row<'_>, index: &LiveIndex) -> Result<bool, FormatError> {
        let filter = &self.filter;
        let asked = filter.compacted.is_some() && filter.rule == TombstoneRule::Skipped;
        if !asked || row.key.main != filter.revision {
            return Ok(false);
        }
        if row.key.tombstone {
            self.deleted.insert(index.hash(key_of(row.value)?));
            return Ok(false);
        }
        Ok(!self.deleted.is_empty() && self.deleted.contains(&index.hash(key_of(row.value)?)))
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.present.unwrap_or(self.kept).finish()
    }
}
