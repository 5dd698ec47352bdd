//! How far closed ranges of revisions go without a hole, wherever each of them is. Pure.

use revkeep_schemas::Revision;
use revkeep_schemas::names::Uid;

/// A closed range of revisions.
pub type Range = (Revision, Revision);

/// The name of a segment that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// The suffix of its name in the vault.
    pub uid: Uid,
}

impl Name {
    /// Its revisions.
    #[must_use]
    pub const fn range(&self) -> Range {
        (self.first, self.last)
    }
}

/// How far ranges, in any order, go on from a revision without a hole. What is stored and what waits are to be given
/// together: a hole in the one may be filled by the other.
#[must_use]
pub fn reach(from: Revision, ranges: impl IntoIterator<Item = Range>) -> Revision {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_unstable();
    ranges.into_iter().fold(from, |reached, (first, last)| {
        if first <= reached.next() {
            reached.max(last)
        } else {
            reached
        }
    })
}

/// The parts of ranges, in order, that are in none of the others.
#[must_use]
pub fn without(ranges: Vec<Range>, others: impl IntoIterator<Item = Range>) -> Vec<Range> {
    let mut others: Vec<_> = others.into_iter().collect();
    others.sort_unstable();
    let mut left = Vec::new();
    for (mut first, last) in ranges {
        for (from, to) in &others {
            if *to < first || *from > last {
                continue;
            }
            if first < *from {
                left.push((first, from.previous()));
            }
            first = to.next();
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(numbers: &[(i64, i64)]) -> Vec<Range> {
        let ranges = numbers.iter();
        ranges
            .map(|(first, last)| (Revision(*first), Revision(*last)))
            .collect()
    }

    #[test]
    fn a_hole_in_what_is_stored_is_filled_by_what_waits_and_the_other_way_round() {
        let (stored, waiting) = (ranges(&[(21, 30), (41, 50)]), ranges(&[(31, 40), (11, 20)]));
        let reach = |ranges: &[Range]| reach(Revision(10), ranges.to_vec()).0;
        assert_eq!(reach(&stored), 10);
        assert_eq!(reach(&waiting), 20);
        assert_eq!(reach(&[stored, waiting].concat()), 50);
        assert_eq!(reach(&ranges(&[(12, 20)])), 10);
        assert_eq!(reach(&ranges(&[(5, 8), (1, 15)])), 15);
    }

    #[test]
    fn what_is_in_the_others_is_taken_out() {
        let left = |all: &[(i64, i64)], others: &[(i64, i64)]| without(ranges(all), ranges(others));
        assert_eq!(
            left(&[(11, 30)], &[(15, 20)]),
            ranges(&[(11, 14), (21, 30)])
        );
        assert_eq!(left(&[(11, 30)], &[(25, 40), (1, 11)]), ranges(&[(12, 24)]));
        assert_eq!(left(&[(11, 30), (40, 41)], &[(1, 99)]), []);
    }
}
