//! Raft's own evidence: in one history neither the term nor the index ever goes back. Pure.

use revkeep_schemas::Revision;

/// Where a source's Raft log stood when its revision was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftMark {
    /// The term; 0 where it is not known.
    pub term: u64,
    /// The index of the last committed entry; 0 where it is not known.
    pub index: u64,
    /// The revision.
    pub revision: Revision,
}

impl RaftMark {
    /// What has gone back since this mark, in words; `now` must be of a member that has applied all that was committed.
    #[must_use]
    pub fn gone_back(&self, now: &Self) -> Option<String> {
        let told = |what: &str, before: u64, now: u64| {
            Some(format!("its Raft {what} was {before} and is {now}"))
        };
        if self.term > 0 && now.term > 0 && now.term < self.term {
            return told("term", self.term, now.term);
        }
        if self.index > 0 && now.index > 0 && now.index < self.index {
            return told("index", self.index, now.index);
        }
        None
    }

    /// The later of two marks of one history.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self {
            term: self.term.max(other.term),
            index: self.index.max(other.index),
            revision: self.revision.max(other.revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(term: u64, index: u64) -> RaftMark {
        RaftMark {
            term,
            index,
            revision: Revision(9),
        }
    }

    #[test]
    fn what_goes_back_is_told_and_what_is_not_known_is_not_held_against_it() {
        let before = mark(3, 100);
        assert_eq!(before.gone_back(&mark(3, 100)), None);
        assert_eq!(before.gone_back(&mark(7, 2000)), None);
        assert!(before.gone_back(&mark(2, 2000)).unwrap().contains("term"));
        assert!(before.gone_back(&mark(3, 99)).unwrap().contains("index"));
        assert_eq!(before.gone_back(&mark(0, 0)), None);
        assert_eq!(RaftMark::default().gone_back(&mark(1, 1)), None);
        assert_eq!(before.later(mark(2, 200)), mark(3, 200));
    }
}
