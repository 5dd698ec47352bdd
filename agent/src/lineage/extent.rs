//! How far a timeline goes without a hole, over what is stored and what waits in the spool, taken together. Pure.
//!
//! Several segments go up at once, and the process may be killed between any two of them: a hole in the vault may be filled by
//! the spool, behind which the vault goes on, and so forth. Judged apart, each of them would reach less far, and what the
//! other has would be called lost where the source has compacted it.

use revkeep_schemas::Revision;
use revkeep_vault::SegmentEntry;

use crate::spool::{Name, Range, reach};

/// Where a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// In the vault.
    Stored(SegmentEntry),
    /// In the spool.
    Waiting(Name),
}

impl Held {
    fn range(&self) -> Range {
        match self {
            Self::Stored(entry) => (entry.first, entry.last),
            Self::Waiting(name) => name.range(),
        }
    }

    /// Its last revision.
    pub(crate) fn last(&self) -> Revision {
        self.range().1
    }
}

/// Where a timeline ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The last revision without a hole; `None` before there is a base.
    pub(crate) reach: Option<Revision>,
    /// The segment that ends there, where that is beyond what the vault alone holds without a hole.
    pub(crate) end: Option<Held>,
    /// The one that reaches the furthest behind a hole.
    pub(crate) beyond: Option<Held>,
}

impl Extent {
    /// The extent of a timeline that goes up to `cursor` in the vault, with what is stored beyond that and what waits.
    pub(crate) fn of(cursor: Option<Revision>, stored: &[SegmentEntry], waiting: &[Name]) -> Self {
        let stored = stored.iter().cloned().map(Held::Stored);
        let waiting = waiting.iter().copied().map(Held::Waiting);
        let held: Vec<_> = stored.chain(waiting).collect();
        let reach = cursor.map(|cursor| reach(cursor, held.iter().map(Held::range)));
        let end = held
            .iter()
            .find(|one| Some(one.last()) == reach && reach > cursor);
        let beyond = held.iter().filter(|one| Some(one.last()) > reach);
        Self {
            reach,
            end: end.cloned(),
            beyond: beyond.max_by_key(|one| one.last()).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::names::Uid;

    use super::*;

    fn stored(first: i64, last: i64) -> SegmentEntry {
        SegmentEntry {
            name: String::new(),
            level: 0,
            first: Revision(first),
            last: Revision(last),
            uid: Uid(1),
            bytes: 1,
        }
    }

    fn waiting(first: i64, last: i64) -> Name {
        Name {
            first: Revision(first),
            last: Revision(last),
            uid: Uid(2),
        }
    }

    #[test]
    fn the_vault_and_the_spool_are_judged_together() {
        let vault = [stored(21, 30), stored(41, 45), stored(70, 75)];
        let spool = [waiting(11, 20), waiting(31, 40), waiting(60, 64)];
        let extent = Extent::of(Some(Revision(10)), &vault, &spool);
        assert_eq!(extent.reach, Some(Revision(45)));
        assert_eq!(extent.end, Some(Held::Stored(vault[1].clone())));
        assert_eq!(extent.beyond, Some(Held::Stored(vault[2].clone())));
        let spool = [waiting(11, 20), waiting(80, 81)];
        let extent = Extent::of(Some(Revision(10)), &vault[2..], &spool);
        assert_eq!(extent.reach, Some(Revision(20)));
        assert_eq!(extent.end, Some(Held::Waiting(spool[0])));
        assert_eq!(extent.beyond, Some(Held::Waiting(spool[1])));
    }

    #[test]
    fn without_a_base_everything_lies_beyond() {
        let extent = Extent::of(None, &[stored(21, 30)], &[waiting(5, 9)]);
        assert_eq!((extent.reach, extent.end), (None, None));
        assert_eq!(extent.beyond, Some(Held::Stored(stored(21, 30))));
        let cursor = Some(Revision(30));
        let extent = Extent::of(cursor, &[], &[waiting(5, 9)]);
        assert_eq!(
            extent,
            Extent {
                reach: cursor,
                ..Extent::default()
            }
        );
    }
}
