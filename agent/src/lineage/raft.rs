//! Raft's own evidence: in one history neither the term nor the index ever goes back, nor does the number of entries that made no
//! revision. Pure.

use revkeep_schemas::Revision;

/// By so much the surplus may go back: etcd 3.5.0 to 3.5.2 may write the index of an entry that it is about to apply (etcd, pull
/// request 13854).
const ALLOWED: i64 = 1;

/// Where a source's Raft log stood when its revision was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftMark {
    /// The term; 0 where it is not known.
    pub term: u64,
    /// The index of the last committed entry; 0 where it is not known.
    pub index: u64,
    /// The revision.
    pub revision: Revision,
    /// The index of the last entry that a snapshot held, less the snapshot's revision; `None` where it is not known. It never goes
    /// back in one history of etcd.
    pub surplus: Option<i64>,
}

/// The index of the last entry that a snapshot holds, less its revision, from the entries of its bucket `meta`. An entry of
/// etcd makes one revision at most (`server/etcdserver/apply`), so this never goes back in one history. A restore starts the log
/// again and keeps the revision: what was restored has less, also when its index has long passed the old one.
///
/// `None` where it is not known, and for the replicated store of this repository: its entries make many revisions. etcd writes
/// `consistent_index` alone before 3.5, and `confState` beside `term` since; the store writes no `confState`. An etcd that has the
/// second and not the third is taken for the store: then this says nothing.
pub(super) fn surplus<E>(
    revision: Revision,
    meta: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<i64>, E> {
    if meta(b"term")?.is_some() && meta(b"confState")?.is_none() {
        return Ok(None);
    }
    let index = meta(b"consistent_index")?.and_then(|value| value.try_into().ok());
    let index = index.and_then(|index| i64::try_from(u64::from_be_bytes(index)).ok());
    Ok(index
        .filter(|index| *index > 0)
        .map(|index| index - revision.0))
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

    /// Why a snapshot is not of this history, in words, though its index has passed this mark's.
    #[must_use]
    pub fn outgrown(&self, now: &Self) -> Option<String> {
        let (before, now) = (self.surplus?, now.surplus?);
        (now + ALLOWED < before).then(|| {
            format!(
                "since what was captured it has made {} revisions more than its Raft log has entries",
                before - now
            )
        })
    }

    /// The later of two marks of one history.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self {
            term: self.term.max(other.term),
            index: self.index.max(other.index),
            revision: self.revision.max(other.revision),
            surplus: self.surplus.max(other.surplus),
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
            surplus: None,
        }
    }

    fn with_surplus(surplus: impl Into<Option<i64>>) -> RaftMark {
        RaftMark {
            surplus: surplus.into(),
            ..mark(2, 9)
        }
    }

    #[test]
    fn more_revisions_than_entries_are_of_another_history() {
        let before = with_surplus(-100);
        assert_eq!(before.outgrown(&with_surplus(-100)), None);
        assert_eq!(before.outgrown(&with_surplus(7)), None);
        assert_eq!(before.outgrown(&with_surplus(-101)), None);
        let told = before.outgrown(&with_surplus(-102)).unwrap();
        assert!(told.contains("2 revisions more"), "{told}");
        assert_eq!(before.outgrown(&with_surplus(None)), None);
        assert_eq!(with_surplus(None).outgrown(&before), None);
        assert_eq!(before.later(with_surplus(None)), before);
        assert_eq!(before.later(with_surplus(3)), with_surplus(3));
    }

    #[test]
    fn the_surplus_is_read_where_an_entry_makes_one_revision_at_most() {
        let of = |names: &[&str]| {
            let meta = |name: &[u8]| {
                let found = names.iter().any(|one| one.as_bytes() == name);
                Ok::<_, ()>(found.then(|| 40_u64.to_be_bytes().to_vec()))
            };
            surplus(Revision(100), meta).unwrap()
        };
        assert_eq!(of(&["consistent_index"]), Some(-60));
        assert_eq!(of(&["consistent_index", "term", "confState"]), Some(-60));
        assert_eq!(of(&["consistent_index", "term"]), None);
        assert_eq!(of(&[]), None);
        let broken = |_: &[u8]| Ok::<_, ()>(Some(vec![1]));
        assert_eq!(surplus(Revision(1), broken), Ok(None));
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
