//! The segments that bear on a plan, with their indexes: those whose rows are read, and those beside them.
//!
//! Indexes are read by range requests, a few KiB each, a few at once.

use std::error::Error as _;

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::{FormatError, Revision};
use revkeep_vault::{ErrorKind, Inventory, SegmentEntry, VaultError};

use crate::error::RestoreError;
use crate::facts::Facts;
use crate::plan::Plan;
use crate::source::Source;

/// Indexes of segments that are fetched at once.
const PARALLEL_INDEXES: usize = 8;
/// Facts are gathered after a segment's rows, when the source stands a little further on. So the last segments that end
/// at the base's revision or before may speak of what came after it; so many of them are asked, enough for a cluster
/// with an agent beside each member.
const BEFORE_THE_BASE: usize = 8;

/// A segment and what its verified index says. The index itself is not kept: it has a time for every millisecond, and a vault
/// may have any number of segments.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Its position in the inventory.
    pub position: usize,
    /// The segment.
    pub entry: SegmentEntry,
    /// The digest of all its rows.
    pub digest: RowDigest,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of its encoded rows.
    pub plain_bytes: u64,
}

/// What was found of the segments that bear on a plan.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Those with a row above the base and up to the target, in the order of their positions.
    pub segments: Vec<Surveyed>,
    /// What they say beside their rows, and the last ones before them.
    pub facts: Facts,
    /// Positions in the inventory of those that are damaged or gone, and why.
    pub unusable: Vec<(usize, String)>,
}

impl Survey {
    /// Reads the indexes.
    ///
    /// # Errors
    /// When the store cannot be reached or denies access. An index that is damaged or gone is listed, not an error: another segment may
    /// cover its range.
    pub async fn of(source: &Source, plan: &Plan) -> Result<Self, RestoreError> {
        let after = plan.base_fact.revision;
        let mut survey = Self::default();
        let wanted = bearing_on(&source.inventory, after, plan.target);
        let mut indexes = stream::iter(wanted)
            .map(|(position, entry)| async move {
                match source.timeline.segment_index(&entry).await {
                    Ok(index) => Ok((position, entry, Ok(index))),
                    Err(error) if is_lost(&error) => Ok((position, entry, Err(error.to_string()))),
                    Err(error) => Err(error),
                }
            })
            .buffered(PARALLEL_INDEXES);
        while let Some((position, entry, index)) = indexes.try_next().await? {
            match index {
                Ok(index) => {
                    survey.facts.add(&index, plan.target);
                    if entry.last > after {
                        survey.segments.push(Surveyed {
                            position,
                            entry,
                            digest: index.digest,
                            rows: index.rows,
                            plain_bytes: index.plain_bytes,
                        });
                    }
                }
                Err(reason) => survey.unusable.push((position, reason)),
            }
        }
        Ok(survey)
    }

    /// The segment at a position of the inventory.
    #[must_use]
    pub fn at(&self, position: usize) -> Option<&Surveyed> {
        let found = self
            .segments
            .binary_search_by_key(&position, |segment| segment.position);
        found.ok().and_then(|at| self.segments.get(at))
    }
}

/// Whether an object as such cannot be used, in contrast to a store that cannot be reached or denies access.
pub(crate) fn is_lost(error: &VaultError) -> bool {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound => true,
        // Written by something newer.
        ErrorKind::Config => error
            .source()
            .and_then(|cause| cause.downcast_ref::<FormatError>())
            .is_some(),
        _ => false,
    }
}

fn bearing_on(
    inventory: &Inventory,
    after: Revision,
    target: Revision,
) -> Vec<(usize, SegmentEntry)> {
    if target <= after {
        // The base's own history holds the target, and its compact revision is all that the source had compacted.
        return Vec::new();
    }
    let segments = || inventory.segments.iter().enumerate();
    let mut before: Vec<_> = segments()
        .filter(|(_, entry)| entry.last <= after)
        .collect();
    before.sort_by_key(|(_, entry)| entry.last);
    let skipped = before.len().saturating_sub(BEFORE_THE_BASE);
    let within = segments().filter(|(_, entry)| entry.last > after && entry.first <= target);
    before
        .into_iter()
        .skip(skipped)
        .chain(within)
        .map(|(position, entry)| (position, entry.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_denies_access_has_lost_nothing() {
        let denied = VaultError::new(ErrorKind::Config, "the store denies it");
        assert!(!is_lost(&denied));
        assert!(!is_lost(&VaultError::new(ErrorKind::Retry, "try again")));
        let newer = FormatError::unsupported("object", "it has format version 2");
        let newer = VaultError::new(ErrorKind::Config, "use a newer Revkeep").with_source(newer);
        assert!(is_lost(&newer));
        assert!(is_lost(&VaultError::new(ErrorKind::Corrupt, "damaged")));
    }
}
