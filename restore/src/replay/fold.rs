//! The two passes over the rows.

use std::collections::BTreeSet;

use revkeep_schemas::compaction::{Compaction, LiveIndex};
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::hashkv::{HashFilter, HashView, TombstoneRule};
use revkeep_schemas::manifest::Checkpoint;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{Revision, Row, RowKey};

use super::proof::compacted;
use super::{Batches, LeaseHolders, Proof, Sequence};
use crate::error::{Kind, RestoreError};
use crate::leases::LeaseRule;

/// What to make of the rows.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The revision to restore.
    pub target: Revision,
    /// The compact revision of the result.
    pub compact_revision: Revision,
    /// The compact revision of the base.
    pub floor: Revision,
    /// The revision of the base.
    pub base_revision: Revision,
    /// The digest of all rows of the base.
    pub base_digest: RowDigest,
    /// What the source's version does with a tombstone at the compact revision.
    pub rule: TombstoneRule,
    /// What the source said, to be compared with.
    pub checkpoints: Vec<Checkpoint>,
    /// The revision to which the result is raised once its rows are proved.
    pub bumped: Option<Revision>,
    /// What becomes of leases once the rows are proved.
    pub leases: LeaseRule,
}

impl Recipe {
    const AT_COMPACTION: usize = 0;
    /// The position of the target among the points of the index.
    pub const AT_TARGET: usize = 1;
    const AT_CHECKPOINT: usize = 2;

    /// A fold of the hash that the result has at the target.
    #[must_use]
    pub fn result_view(&self) -> HashView {
        HashView::new(self.filter(self.target, self.compact_revision))
    }

    /// The same fold of rows that follow others; see [`HashView::join`].
    #[must_use]
    pub fn continued_result_view(&self) -> HashView {
        HashView::continued(self.filter(self.target, self.compact_revision))
    }

    /// Whether a row's fate depends on others of its key. Only compaction asks about them: that of the result, or that of
    /// a server that was asked for its hash.
    #[must_use]
    pub fn needs_index(&self) -> bool {
        let known = self.checkpoints.iter().map(|known| known.compact_revision);
        known
            .chain([self.compact_revision])
            .any(|revision| compacted(revision).is_some())
    }

    fn filter(&self, revision: Revision, compact_revision: Revision) -> HashFilter {
        HashFilter {
            revision,
            compacted: compacted(compact_revision),
            rule: self.rule,
        }
    }

    /// The last revision that is read: of a base that reaches beyond the target, its end.
    #[must_use]
    pub fn end(&self) -> Revision {
        self.target.max(self.base_revision)
    }

    fn points(&self) -> Vec<Revision> {
        let other = self
            .checkpoints
            .iter()
            .map(|checkpoint| checkpoint.revision)
            .find(|revision| *revision != self.target);
        [self.compact_revision, self.target]
            .into_iter()
            .chain(other)
            .collect()
    }

    /// Whether the source hashed the very rows that the result has, by the same rule.
    fn is_result(&self, known: &Checkpoint) -> bool {
        known.revision == self.target
            && compacted(known.compact_revision) == compacted(self.compact_revision)
    }

    fn point_of(&self, revision: Revision) -> usize {
        if revision == self.target {
            Self::AT_TARGET
        } else {
            Self::AT_CHECKPOINT
        }
    }
}

/// The first pass: remembers the newest row of every key touched above the floor. A recipe that [needs no
/// index](Recipe::needs_index) goes without it: no batches then, and the index answers nothing.
///
/// # Errors
/// What the batches or their rows report.
pub fn index_rows(
    recipe: &Recipe,
    batches: &mut impl Batches,
    seed: u64,
    expected_rows: usize,
    mut progress: impl FnMut(u64),
) -> Result<LiveIndex, RestoreError> {
    let mut index = LiveIndex::new(seed, recipe.floor, &recipe.points(), expected_rows)?;
    let mut last: Option<RowKey> = None;
    while let Some(batch) = batches.next_batch()? {
        for row in EncodedRows::new(&batch.rows) {
            let row = row?;
            // Order and holes are the second pass's business, over the very same rows.
            if last.is_none_or(|last| last < row.key) && row.key.main <= recipe.end() {
                index.observe(&row)?;
                last = Some(row.key);
            }
        }
        progress(batch.rows.len() as u64);
    }
    Ok(index)
}

/// What a replay wrote and found.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Rows written.
    pub rows: u64,
    /// HashKV of what was written, at the target and the compact revision.
    pub hash: u32,
    /// The comparisons with what the source reported.
    pub proofs: Vec<Proof>,
    /// The leases that keys living at the target are attached to.
    pub leases: BTreeSet<i64>,
}

/// The second pass: drops what compaction drops, hands the rest on, and folds every hash over the same stream.
#[derive(Debug)]
pub struct Replay<'a> {
    recipe: &'a Recipe,
    index: &'a LiveIndex,
    compaction: Compaction,
    sequence: Sequence,
    base_digest: RowDigest,
    written: HashView,
    /// The source's hashes of other rows than the result's, each with a fold of its own.
    views: Vec<(Checkpoint, HashView)>,
    holders: LeaseHolders,
    result: Replayed,
}

impl<'a> Replay<'a> {
    /// A second pass with the index of the first, and a random seed.
    #[must_use]
    pub fn new(recipe: &'a Recipe, index: &'a LiveIndex, seed: u64) -> Self {
        Self {
            recipe,
            index,
            compaction: Compaction {
                at: recipe.compact_revision,
                rule: recipe.rule,
            },
            sequence: Sequence::new(recipe.floor),
            base_digest: RowDigest::default(),
            written: recipe.result_view(),
            views: recipe
                .checkpoints
                .iter()
                .filter(|known| !recipe.is_result(known))
                .map(|known| {
                    let filter = recipe.filter(known.revision, known.compact_revision);
                    (*known, HashView::new(filter))
                })
                .collect(),
            holders: LeaseHolders::new(seed),
            result: Replayed::default(),
        }
    }

    /// Reads all batches and hands the rows of the result to `put`.
    ///
    /// # Errors
    /// What the batches and `put` report; [`Kind::Gap`] and [`Kind::Verification`] for rows that are not what the
    /// vault promised.
    pub fn run(
        mut self,
        batches: &mut impl Batches,
        mut put: impl FnMut(&Row<'_>) -> Result<(), RestoreError>,
        mut progress: impl FnMut(u64),
    ) -> Result<Replayed, RestoreError> {
        while let Some(batch) = batches.next_batch()? {
            match batch.base_digest {
                Some(digest) => self.base_digest = self.base_digest.combine(digest),
                None => self.sequence.begin_segment(),
            }
            for row in EncodedRows::new(&batch.rows) {
                self.take(&row?, &mut put)?;
            }
            progress(batch.rows.len() as u64);
        }
        self.check_base()?;
        self.sequence.reached(self.recipe.end())?;
        self.finish()
    }

    fn take(
        &mut self,
        row: &Row<'_>,
        put: &mut impl FnMut(&Row<'_>) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        if row.key.main > self.recipe.end() || !self.sequence.admit(row.key)? {
            return Ok(());
        }
        for (checkpoint, view) in &mut self.views {
            view.update(row, self.index, self.recipe.point_of(checkpoint.revision))?;
        }
        if row.key.main > self.recipe.target
            || !self
                .compaction
                .keeps(row, self.index, Recipe::AT_COMPACTION)?
        {
            return Ok(());
        }
        self.written.update(row, self.index, Recipe::AT_TARGET)?;
        self.holders.observe(row)?;
        self.result.rows += 1;
        put(row)
    }

    fn check_base(&self) -> Result<(), RestoreError> {
        if self.base_digest == self.recipe.base_digest {
            return Ok(());
        }
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "the rows of the base at revision {} have the digest {}, its manifest says {}",
                self.recipe.base_revision, self.base_digest, self.recipe.base_digest
            ),
        ))
    }

    fn finish(self) -> Result<Replayed, RestoreError> {
        let mut result = self.result;
        result.hash = self.written.finish();
        result.leases = self.holders.leases();
        let same = self.recipe.checkpoints.iter();
        let same = same.filter(|known| self.recipe.is_result(known));
        let same = same.map(|known| (*known, result.hash));
        let other = self.views.into_iter();
        let other = other.map(|(known, view)| (known, view.finish()));
        for (known, computed) in same.chain(other) {
            let proof = Proof {
                revision: known.revision,
                compact_revision: known.compact_revision,
                source: known.hash,
                computed,
            };
            proof.check()?;
            result.proofs.push(proof);
        }
        Ok(result)
    }
}
