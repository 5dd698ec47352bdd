//! What came after a point, and so is lost where it is restored.

use std::fmt;

use revkeep_schemas::Revision;

use crate::plan::{Holdings, coverage};

/// What the vault holds after a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct After {
    /// How many later revisions can be restored.
    pub revisions: u64,
    /// The newest one of them.
    pub newest: Option<Revision>,
}

impl After {
    /// What comes after `revision`.
    #[must_use]
    pub fn of(holdings: &Holdings, revision: Revision) -> Self {
        let later = coverage(holdings)
            .into_iter()
            .filter(|range| range.1 > revision)
            .map(|range| (range.0.max(revision.next()), range.1));
        later.fold(Self::default(), |after, (first, last)| Self {
            revisions: after.revisions + (last.0 - first.0 + 1).unsigned_abs(),
            newest: Some(last),
        })
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.newest {
            None => write!(f, "nothing that the vault knows"),
            Some(newest) => write!(f, "{} revisions, up to {newest}", self.revisions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BaseFact, SegmentFact};

    #[test]
    fn only_what_can_be_restored_counts() {
        let base = |revision, compact| BaseFact {
            revision: Revision(revision),
            compact_revision: Revision(compact),
        };
        let holdings = Holdings {
            bases: vec![base(10, 5), base(30, 25)],
            segments: vec![SegmentFact {
                first: Revision(11),
                last: Revision(14),
                level: 0,
            }],
            gaps: Vec::new(),
        };
        let after = |revision| After::of(&holdings, Revision(revision));
        assert_eq!(after(14).revisions, 6);
        assert_eq!(after(12).revisions, 8);
        assert_eq!(after(12).newest, Some(Revision(30)));
        assert_eq!(after(30), After::default());
    }
}
