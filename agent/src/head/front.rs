//! Invariant "durable means read back": how far the vault reaches without a hole. Pure.

use std::collections::BTreeMap;

use revkeep_schemas::Revision;

/// The newest revision up to which everything that this agent captured can be brought back.
///
/// It moves when the store acknowledges what follows it: a segment that begins at the next revision, or a base whose own
/// history (from the source's compact revision on) begins there. It passes over a range that was recorded as lost only
/// onto a base, since rows after a hole are of no use until a base stands on the far side. What is acknowledged beyond a
/// hole is remembered and counts once the hole is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    durable: Option<Revision>,
    segments: Ranges,
    lost: Ranges,
    /// Bases beyond a hole, by their revision: the first revision of their own history.
    bases: BTreeMap<Revision, Revision>,
}

impl Front {
    /// Starts from what the vault holds; `None` before there is a base.
    #[must_use]
    pub fn new(durable: Option<Revision>) -> Self {
        Self {
            durable,
            ..Self::default()
        }
    }

    /// The newest revision that can be brought back; `None` before there is a base.
    #[must_use]
    pub const fn durable(&self) -> Option<Revision> {
        self.durable
    }

    /// The vault was looked at: it has a base, and reaches this far.
    pub fn found(&mut self, durable: Revision) {
        self.durable = self.durable.max(Some(durable));
        self.settle();
    }

    /// What lies between the durable revision and `below` and is not recorded as lost, in order; nothing before there is a
    /// base. What is acknowledged beyond a hole counts as lacking: nothing leads to it yet.
    #[must_use]
    pub fn lacks(&self, below: Revision) -> Vec<(Revision, Revision)> {
        let Some(durable) = self.durable else {
            return Vec::new();
        };
        let mut next = durable.next();
        let mut lacking = Vec::new();
        for (first, last) in &self.lost.0 {
            if *first >= below {
                break;
            }
            if *first > next {
                lacking.push((next, first.previous()));
            }
            next = next.max(last.next());
        }
        if next < below {
            lacking.push((next, below.previous()));
        }
        lacking
    }

    /// What is acknowledged beyond a hole.
    pub fn beyond(&self) -> impl Iterator<Item = (Revision, Revision)> {
        self.segments.0.iter().map(|(first, last)| (*first, *last))
    }

    /// A segment is in the vault.
    pub fn segment(&mut self, first: Revision, last: Revision) {
        self.segments.add(first, last);
        self.settle();
    }

    /// A base is in the vault, with the source's compact revision in it.
    pub fn base(&mut self, revision: Revision, compact: Revision) {
        let oldest = compact.max(Revision::INITIAL);
        if self.durable.is_none() {
            self.durable = Some(revision);
        } else {
            let known = self.bases.entry(revision).or_insert(oldest);
            *known = oldest.min(*known);
        }
        self.settle();
    }

    /// The vault reaches this far by the word of another agent, which has seen it acknowledged.
    pub fn covered(&mut self, revision: Revision) {
        if self.durable.is_some_and(|durable| durable < revision) {
            self.durable = Some(revision);
            self.settle();
        }
    }

    /// A range is recorded in the vault as lost.
    pub fn lost(&mut self, first: Revision, last: Revision) {
        self.lost.add(first, last);
        self.settle();
    }

    fn settle(&mut self) {
        let Some(mut durable) = self.durable else {
            return;
        };
        loop {
            let next = durable.next();
            // A base's history may begin right after what is lost from here on.
            let landing = self.lost.end_at(next).map_or(next, Revision::next);
            let base = self.bases.iter().rev();
            let base = base
                .filter(|(revision, oldest)| **oldest <= landing && **revision > durable)
                .map(|(revision, _)| *revision)
                .next();
            match self.segments.end_at(next).max(base) {
                Some(further) => durable = further,
                None => break,
            }
        }
        self.segments.forget(durable);
        self.lost.forget(durable);
        self.bases.retain(|revision, _| *revision > durable);
        self.durable = Some(durable);
    }
}

/// Closed ranges by their first revision, neither overlapping nor touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(BTreeMap<Revision, Revision>);

impl Ranges {
    fn add(&mut self, mut first: Revision, mut last: Revision) {
        while let Some((other, end)) = self.0.range(..=last.next()).next_back() {
            let (other, end) = (*other, *end);
            if end.next() < first {
                break;
            }
            first = first.min(other);
            last = last.max(end);
            self.0.remove(&other);
        }
        self.0.insert(first, last);
    }

    /// The end of the range that holds the revision.
    fn end_at(&self, revision: Revision) -> Option<Revision> {
        let (_, end) = self.0.range(..=revision).next_back()?;
        (*end >= revision).then_some(*end)
    }

    /// Drops the ranges that end at or before the revision.
    fn forget(&mut self, revision: Revision) {
        self.0.retain(|_, end| *end > revision);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn front(durable: i64) -> Front {
        Front::new(Some(Revision(durable)))
    }

    fn at(front: &Front) -> Option<i64> {
        front.durable().map(|revision| revision.0)
    }

    #[test]
    fn segments_after_a_hole_do_not_move_it() {
        let mut front = front(10);
        front.segment(Revision(11), Revision(20));
        assert_eq!(at(&front), Some(20));
        front.segment(Revision(31), Revision(40));
        assert_eq!(at(&front), Some(20));
        front.lost(Revision(21), Revision(25));
        front.segment(Revision(41), Revision(50));
        assert_eq!(at(&front), Some(20));
        front.base(Revision(30), Revision(26));
        assert_eq!(at(&front), Some(50));
    }

    #[test]
    fn a_base_beyond_a_hole_waits_for_what_fills_it() {
        let mut front = front(10);
        front.base(Revision(30), Revision(21));
        assert_eq!(at(&front), Some(10));
        front.segment(Revision(11), Revision(15));
        assert_eq!(at(&front), Some(15));
        front.segment(Revision(16), Revision(20));
        assert_eq!(at(&front), Some(30));
    }

    #[test]
    fn a_lost_range_is_passed_only_onto_a_base() {
        let mut front = front(10);
        front.lost(Revision(11), Revision(20));
        front.segment(Revision(15), Revision(40));
        assert_eq!(at(&front), Some(10));
        // Its history begins later than what is recorded as lost.
        front.base(Revision(38), Revision(30));
        assert_eq!(at(&front), Some(10));
        front.lost(Revision(21), Revision(29));
        assert_eq!(at(&front), Some(40));
    }

    #[test]
    fn nothing_is_durable_before_the_first_base() {
        let mut front = Front::new(None);
        front.segment(Revision(8), Revision(9));
        assert_eq!(at(&front), None);
        front.base(Revision(7), Revision(3));
        assert_eq!(at(&front), Some(9));
    }

    #[test]
    fn what_lies_before_a_base_is_there_or_recorded_or_lacking() {
        let lacks = |front: &Front, below| {
            let lacking = front.lacks(Revision(below)).into_iter();
            lacking.map(|(a, b)| (a.0, b.0)).collect::<Vec<_>>()
        };
        assert_eq!(lacks(&Front::new(None), 50), []);
        let mut front = front(10);
        assert_eq!(lacks(&front, 5), []);
        assert_eq!(lacks(&front, 11), []);
        assert_eq!(lacks(&front, 12), [(11, 11)]);
        front.lost(Revision(15), Revision(20));
        front.segment(Revision(25), Revision(30));
        assert_eq!(lacks(&front, 31), [(11, 14), (21, 30)]);
        assert_eq!(lacks(&front, 18), [(11, 14)]);
        front.lost(Revision(11), Revision(14));
        front.lost(Revision(21), Revision(40));
        assert_eq!(lacks(&front, 35), []);
        front.segment(Revision(11), Revision(24));
        assert_eq!((at(&front), lacks(&front, 50)), (Some(30), vec![(41, 49)]));
        let mut empty = Front::new(None);
        empty.found(Revision(7));
        empty.found(Revision(3));
        assert_eq!(lacks(&empty, 9), [(8, 8)]);
    }

    proptest! {
        /// In any order of acknowledgements the front ends at the same place, never goes back, and never passes a
        /// revision that is neither in a segment, in a base's history, nor recorded as lost.
        #[test]
        fn no_order_passes_a_hole(
            segments in proptest::collection::vec((2i64..60, 0i64..8), 0..10),
            bases in proptest::collection::vec((2i64..60, 0i64..20), 0..3),
            lost in proptest::collection::vec((2i64..60, 0i64..8), 0..3),
            order in proptest::collection::vec(any::<u32>(), 16),
        ) {
            let kinds = segments.iter().map(|range| (0, *range))
                .chain(bases.iter().map(|range| (1, *range)))
                .chain(lost.iter().map(|range| (2, *range)));
            let mut steps: Vec<(i32, (i64, i64))> = kinds.collect();
            let run = |steps: &[(i32, (i64, i64))]| {
                let mut front = front(1);
                let mut before = at(&front);
                for (kind, (first, length)) in steps {
                    let (first, last) = (Revision(*first), Revision(first + length));
                    match kind {
                        0 => front.segment(first, last),
                        1 => front.base(last, first),
                        _ => front.lost(first, last),
                    }
                    assert!(at(&front) >= before);
                    before = at(&front);
                }
                at(&front)
            };
            let end = run(&steps);
            let mut order = order.iter();
            steps.sort_by_cached_key(|_| order.next());
            prop_assert_eq!(run(&steps), end);
            let within = |ranges: &[(i64, i64)], at: i64| {
                ranges.iter().any(|(first, length)| (*first..=first + length).contains(&at))
            };
            for revision in 2..=end.unwrap_or(0) {
                prop_assert!(
                    within(&segments, revision) || within(&bases, revision) || within(&lost, revision),
                    "passed {}", revision
                );
            }
        }
    }
}
