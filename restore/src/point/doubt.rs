//! What makes it doubtful that a revision is the one that was meant.

use std::fmt;

use revkeep_schemas::Revision;

use crate::error::{Kind, RestoreError};
use crate::plan::{Holdings, coverage};

/// A range of revisions, both ends included.
type Range = (Revision, Revision);

/// Why the revision that was found may not be the one that was meant: the vault does not know all that happened around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Of a range above the deletion that was found the vault has only what was still there at its end.
    NewerDeletion {
        /// The revision before the deletion that was found.
        found: Revision,
        /// The range.
        gap: Range,
    },
    /// What comes right after the revision that was found for a time is lost.
    LaterByThen {
        /// The revision that was found.
        found: Revision,
        /// The range.
        gap: Range,
    },
}

impl Doubt {
    /// Whether the holdings have a gap right after the revision that was found for a time.
    #[must_use]
    pub fn of_time(holdings: &Holdings, found: Revision) -> Option<Self> {
        let covered = coverage(holdings);
        let at = covered.iter().position(|range| range.1 == found)?;
        let later = covered.get(at + 1)?;
        let gap = (found.next(), later.0.previous());
        Some(Self::LaterByThen { found, gap })
    }

    /// Refuses to act on what was found where it may be far from what was meant.
    ///
    /// # Errors
    /// [`Kind::Gap`] for a deletion that may not be the newest.
    pub fn refuse(&self) -> Result<(), RestoreError> {
        match self {
            Self::LaterByThen { .. } => Ok(()),
            Self::NewerDeletion { found, .. } => Err(RestoreError::new(
                Kind::Gap,
                format!(
                    "{self}. Try: --to-revision {found} where that deletion is the one that was meant, or another revision"
                ),
            )),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerDeletion {
                found,
                gap: (first, last),
            } => write!(
                f,
                "of revisions {first} to {last} the vault has only what was still there at {last}: the newest deletion may lie among \
                 them, and not at {}, where one is known",
                found.next()
            ),
            Self::LaterByThen {
                found,
                gap: (first, last),
            } => write!(
                f,
                "revisions {first} to {last} are a gap: some of them may have been there at that time, and {found} is the newest before"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::BaseFact;

    #[test]
    fn only_a_gap_right_after_makes_a_time_doubtful() {
        let base = |revision, compact| BaseFact {
            revision: Revision(revision),
            compact_revision: Revision(compact),
        };
        let holdings = Holdings {
            bases: vec![base(10, 5), base(30, 25)],
            ..Holdings::default()
        };
        let of = |found| Doubt::of_time(&holdings, Revision(found));
        let gap = (Revision(11), Revision(24));
        let found = Revision(10);
        assert_eq!(of(10), Some(Doubt::LaterByThen { found, gap }));
        assert_eq!((of(9), of(30)), (None, None));
    }
}
