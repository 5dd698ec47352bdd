//! Which of the source's own statements a restore can be compared with.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Checkpoint;

use crate::error::{Kind, RestoreError};

/// A HashKV that the source reported, and the one computed over the same rows here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    /// The revision that was hashed.
    pub revision: Revision,
    /// The compact revision under which it was hashed.
    pub compact_revision: Revision,
    /// What the source reported.
    pub source: u32,
    /// What the rows from the vault give.
    pub computed: u32,
}

impl Proof {
    /// Refuses a difference.
    ///
    /// # Errors
    /// [`Kind::Verification`] with both hashes.
    pub fn check(&self) -> Result<(), RestoreError> {
        if self.source == self.computed {
            return Ok(());
        }
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "HashKV at revision {} (compact revision {}): the source reported {}, the stored rows give {}; nothing was written. \
                 Restore another revision, and run `revkeep info` to see other bases",
                self.revision, self.compact_revision, self.source, self.computed
            ),
        ))
    }
}

/// Whether rows with history above `floor`, read up to `end`, give the hash of a checkpoint.
#[must_use]
pub fn comparable(checkpoint: &Checkpoint, floor: Revision, end: Revision) -> bool {
    checkpoint.revision >= floor
        && checkpoint.revision <= end
        && checkpoint.compact_revision.max(Revision::ZERO) >= floor
        && checkpoint.compact_revision <= checkpoint.revision
}

/// The checkpoints to compare with: those at the target itself, and of the others the newest, which covers the rows of
/// those before it but for what was compacted since. Each would cost another fold.
#[must_use]
pub fn proofs(
    known: &[Checkpoint],
    floor: Revision,
    target: Revision,
    end: Revision,
) -> Vec<Checkpoint> {
    let mut usable: Vec<_> = known
        .iter()
        .filter(|checkpoint| comparable(checkpoint, floor, end))
        .copied()
        .collect();
    usable.sort_by_key(|checkpoint| (checkpoint.revision, checkpoint.compact_revision));
    usable.dedup();
    let other = usable
        .iter()
        .rfind(|checkpoint| checkpoint.revision != target)
        .copied();
    usable.retain(|checkpoint| checkpoint.revision == target);
    usable.extend(other);
    usable
}

/// The compact revision as the hash's filter takes it: `None` for a source that had never compacted.
pub(super) fn compacted(revision: Revision) -> Option<Revision> {
    (revision > Revision::ZERO).then_some(revision)
}
