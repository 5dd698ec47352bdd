//! When the revisions of a segment were seen, thinned and packed; and what follows of all of them for a timeline.
//!
//! A mark says that by a time all revisions up to one were there. Of a segment the last one is kept, and of the others so
//! many that what is left out is said by one that is kept, [`STEP_MS`] later at most. In a column they stand as pairs, each number as the difference from the one before:
//! the revision from the segment's first one on, the time from 0 on, both zigzag and LEB128.

use std::collections::BTreeMap;

use revkeep_schemas::Revision;
use revkeep_schemas::segment::SegmentIndex;

/// How much too late kept marks may be, in milliseconds: what by any time was there, they say by so much later.
pub(super) const STEP_MS: i64 = 10_000;

/// By a time, all revisions up to one were there: the revision, and the time in milliseconds since 1970.
pub(super) type Mark = (i64, i64);

/// The marks of a segment that ends at `last`, by revision.
pub(super) fn of_index(index: &SegmentIndex, last: Revision) -> Vec<Mark> {
    let ends = index.times.iter().skip(1);
    let ends = ends.map(|mark| mark.revision.previous()).chain([last]);
    let all = index.times.iter().zip(ends);
    let all = frontier(all.map(|(mark, end)| (end.0, mark.unix_ms)));
    let mut kept: Vec<Mark> = Vec::new();
    let mut left_out: Option<Mark> = None;
    let mut begun = i64::MIN;
    for mark in all {
        // The first time since the last kept mark, whether it was kept or not, is not left out for longer than a step.
        if mark.1.saturating_sub(begun) > STEP_MS {
            kept.extend(left_out.take());
            begun = mark.1;
        }
        left_out = Some(mark);
    }
    kept.extend(left_out);
    kept
}

/// Marks as a column holds them.
pub(super) fn pack(first: i64, marks: &[Mark]) -> Vec<u8> {
    let mut packed = Vec::new();
    let (mut revision, mut time) = (first, 0);
    for mark in marks {
        put(&mut packed, mark.0.wrapping_sub(revision));
        put(&mut packed, mark.1.wrapping_sub(time));
        (revision, time) = *mark;
    }
    packed
}

/// Reads what [`pack`] wrote; of anything else, what it can.
pub(super) fn unpack(first: i64, packed: &[u8]) -> Vec<Mark> {
    let mut bytes = packed.iter().copied();
    let (mut revision, mut time) = (first, 0_i64);
    let mut marks = Vec::new();
    while let (Some(further), Some(later)) = (take(&mut bytes), take(&mut bytes)) {
        revision = revision.wrapping_add(further);
        time = time.wrapping_add(later);
        marks.push((revision, time));
    }
    marks
}

fn put(packed: &mut Vec<u8>, number: i64) {
    let mut rest = (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        packed.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    packed.push(rest.to_le_bytes()[0]);
}

fn take(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let mut number = 0_u64;
    let mut shift = 0;
    loop {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte < 0x80 {
            let sign = (number & 1).cast_signed().wrapping_neg();
            return Some((number >> 1).cast_signed() ^ sign);
        }
    }
}

/// The marks that say anything, by revision: none of them has one after it that was seen at the same time or before.
/// In what remains both numbers go up together, so a question for either is one look.
pub(super) fn frontier(marks: impl IntoIterator<Item = Mark>) -> BTreeMap<i64, i64> {
    let mut earliest: BTreeMap<i64, i64> = BTreeMap::new();
    for (revision, time) in marks {
        if time > 0 {
            let known = earliest.entry(revision).or_insert(time);
            *known = time.min(*known);
        }
    }
    let mut before = i64::MAX;
    let mut kept = BTreeMap::new();
    for (revision, time) in earliest.into_iter().rev() {
        if time < before {
            kept.insert(revision, time);
            before = time;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use revkeep_schemas::segment::TimeMark;

    use super::*;
    use crate::Spans;

    fn marks() -> impl Strategy<Value = Vec<Mark>> {
        proptest::collection::vec((1..50_i64, 1..80_i64), 0..30)
    }

    proptest! {
        #[test]
        fn the_frontier_answers_as_all_marks_do(marks in marks()) {
            let mut spans = Spans::default();
            for (revision, time) in &marks {
                spans.there_by(Revision(*revision), *time);
            }
            let kept = frontier(marks);
            for at in 0..90 {
                let by = kept.iter().rev().find(|(_, time)| **time <= at).map(|(revision, _)| Revision(*revision));
                prop_assert_eq!(by, spans.newest_by(at));
                let seen = kept.range(at..).next().map(|(_, time)| *time);
                prop_assert_eq!(seen, spans.seen(Revision(at)));
            }
        }

        #[test]
        fn packed_marks_are_the_same(first in any::<i64>(), marks in proptest::collection::vec(any::<(i64, i64)>(), 0..20)) {
            prop_assert_eq!(unpack(first, &pack(first, &marks)), marks);
        }

        #[test]
        fn nothing_is_read_of_what_is_no_marks(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _any = unpack(1, &bytes);
        }

        #[test]
        fn thinned_marks_are_never_too_early_and_a_step_too_late_at_most(
            steps in proptest::collection::vec((1..4_i64, -3_000..30_000_i64), 1..80)
        ) {
            let mut at = TimeMark { revision: Revision(1), unix_ms: 500_000 };
            let mut times = vec![at];
            for (further, later) in steps {
                at = TimeMark { revision: Revision(at.revision.0 + further), unix_ms: at.unix_ms + later };
                times.push(at);
            }
            let last = Revision(at.revision.0 + 2);
            let index = SegmentIndex { times, ..SegmentIndex::default() };
            let mut spans = Spans::default();
            spans.add(&index, last);
            let kept = frontier(of_index(&index, last));
            let by = |time: i64| kept.iter().rev().find(|(_, seen)| **seen <= time).map(|(revision, _)| Revision(*revision));
            for time in (0..at.unix_ms + 20_000).step_by(997) {
                prop_assert!(by(time) <= spans.newest_by(time));
                prop_assert!(by(time + STEP_MS) >= spans.newest_by(time));
            }
        }
    }

    #[test]
    fn a_segment_of_ten_seconds_has_a_mark_or_two() {
        let times = (0..1_000).map(|at| TimeMark {
            revision: Revision(at + 1),
            unix_ms: 5_000 + at * 10,
        });
        let index = SegmentIndex {
            times: times.collect(),
            ..SegmentIndex::default()
        };
        assert_eq!(of_index(&index, Revision(1_000)), [(1_000, 14_990)]);
    }
}
