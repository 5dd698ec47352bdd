//! From a snapshot's rows to a base's: compaction that the snapshot caught half way is finished, and HashKV is folded
//! over the result to compare it with what the source said.

use crate::boltdb::DbFile;
use crate::compaction::{Compaction, LiveIndex};
use crate::hashkv::{HashFilter, HashView, TombstoneRule};
use crate::manifest::Checkpoint;
use crate::{FormatError, Revision, Row, RowSource};

/// The positions in the index of the compact revision and of the snapshot's own.
const AT_COMPACT: usize = 0;
const AT_END: usize = 1;
/// How many touched keys the index reserves memory for at first; it grows.
const EXPECTED_KEYS: usize = 1 << 16;

/// Where a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The snapshot's revision.
    pub revision: Revision,
    /// The compact revision that was asked for last; 0 when there was none.
    pub compact_revision: Revision,
    /// Up to where the rows are compacted for certain; at most `compact_revision`.
    pub compacted: Revision,
}

impl Position {
    /// Reads it from the file.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the file is damaged.
    pub fn of(db: &DbFile) -> Result<Self, FormatError> {
        let (scheduled, finished) = db.compact_revisions()?;
        let scheduled = scheduled.unwrap_or(Revision::ZERO);
        let finished = finished.unwrap_or(Revision::ZERO);
        Ok(Self {
            revision: db.snapshot_revision()?,
            compact_revision: scheduled.max(finished),
            compacted: finished,
        })
    }
}

/// Decides which rows of one snapshot belong to its base.
#[derive(Clone, Debug)]
pub struct Normaliser {
    position: Position,
    compaction: Compaction,
    index: LiveIndex,
}

impl Normaliser {
    /// Reads the rows once, for the keys that were touched above what is compacted for certain: about 40 bytes a key.
    ///
    /// # Errors
    /// As reading the file does; [`FormatError::Unsupported`] for what the index cannot hold.
    pub fn read(
        db: &DbFile,
        position: Position,
        rule: TombstoneRule,
        seed: u64,
    ) -> Result<Self, FormatError> {
        let points = [position.compact_revision, position.revision];
        let mut index = LiveIndex::new(seed, position.compacted, &points, EXPECTED_KEYS)?;
        let mut rows = db.rows()?;
        while let Some(row) = rows.next_row()? {
            if row.key.main > position.compacted {
                index.observe(&row)?;
            }
        }
        Ok(Self {
            position,
            compaction: Compaction {
                at: position.compact_revision,
                rule,
            },
            index,
        })
    }

    /// Whether the row belongs to the base.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the row's value has no readable key.
    pub fn keeps(&self, row: &Row<'_>) -> Result<bool, FormatError> {
        self.compaction.keeps(row, &self.index, AT_COMPACT)
    }

    /// Folds HashKV over the base as the source did for `reported`. `None` when the base cannot tell: etcd answers from
    /// its cache, with an older compact revision, when the revision asked is one that was compacted at.
    ///
    /// # Errors
    /// As reading the file does.
    pub fn hash_as(&self, db: &DbFile, reported: Checkpoint) -> Result<Option<u32>, FormatError> {
        if reported.revision != self.position.revision
            || reported.compact_revision < self.position.compact_revision
        {
            return Ok(None);
        }
        let mut view = HashView::new(HashFilter {
            revision: reported.revision,
            compacted: (reported.compact_revision > Revision::ZERO)
                .then_some(reported.compact_revision),
            rule: self.compaction.rule,
        });
        let mut rows = db.rows()?;
        while let Some(row) = rows.next_row()? {
            if self.keeps(&row)? {
                view.update(&row, &self.index, AT_END)?;
            }
        }
        Ok(Some(view.finish()))
    }
}
