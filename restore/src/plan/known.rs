//! What the vault knows of all revisions together, and where it stands.

use revkeep_schemas::Revision;

use super::choose::carried_on;
use super::{Holdings, Step};

/// A part of the history, and where it stands. Together they hold each row once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// In a segment.
    Segment(Step),
    /// In a base, by its position in [`Holdings::bases`].
    Base {
        /// The base.
        base: usize,
        /// The first revision wanted of it.
        from: Revision,
        /// The last revision wanted of it.
        to: Revision,
    },
}

/// All that the vault knows of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Where it stands, in the order of revisions.
    pub stretches: Vec<Stretch>,
    /// Ranges, both ends included, of which only what was there at their end is known: before the first base, and gaps.
    pub partly_known: Vec<(Revision, Revision)>,
}

/// Finds where every known row stands. Segments are preferred where a base has the same rows, but at the start.
#[must_use]
pub fn known(holdings: &Holdings) -> Known {
    let mut known = Known::default();
    let mut reached = Revision::ZERO;
    while let Some((position, base)) = next_base(holdings, reached) {
        let from = reached.next();
        known.stretches.push(Stretch::Base {
            base: position,
            // The row of a bumped revision aside, no row is below 2; the first base begins with all it has.
            from,
            to: base.revision,
        });
        if base.compact_revision > reached {
            known.partly_known.push((from, base.compact_revision));
        }
        reached = base.revision;
        let steps = carried_on(holdings, reached);
        reached = steps.last().map_or(reached, |step| step.to);
        known
            .stretches
            .extend(steps.into_iter().map(Stretch::Segment));
    }
    known
}

/// The base to go on with: of those whose history continues without a hole the one that reaches furthest; else the one that loses least.
fn next_base(holdings: &Holdings, reached: Revision) -> Option<(usize, super::BaseFact)> {
    let beyond = holdings.bases.iter().copied().enumerate();
    beyond
        .filter(|(_, base)| base.revision > reached)
        .min_by_key(|(_, base)| {
            let lost = base.compact_revision.max(reached);
            (lost, std::cmp::Reverse(base.revision))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BaseFact, SegmentFact};

    fn holdings(bases: &[(i64, i64)], segments: &[(i64, i64)]) -> Holdings {
        let base = |(revision, compact): &(i64, i64)| BaseFact {
            revision: Revision(*revision),
            compact_revision: Revision(*compact),
        };
        let segment = |(first, last): &(i64, i64)| SegmentFact {
            first: Revision(*first),
            last: Revision(*last),
            level: 0,
        };
        Holdings {
            bases: bases.iter().map(base).collect(),
            segments: segments.iter().map(segment).collect(),
            gaps: Vec::new(),
        }
    }

    fn told(known: &Known) -> Vec<(char, i64, i64)> {
        let told = known.stretches.iter().map(|stretch| match stretch {
            Stretch::Segment(step) => ('s', step.from.0, step.to.0),
            Stretch::Base { from, to, .. } => ('b', from.0, to.0),
        });
        told.collect()
    }

    #[test]
    fn each_revision_is_told_once() {
        let known = known(&holdings(
            &[(10, 0), (20, 8), (40, 30)],
            &[(11, 14), (13, 18), (41, 50)],
        ));
        assert_eq!(
            told(&known),
            [
                ('b', 1, 10),
                ('s', 11, 14),
                ('s', 15, 18),
                ('b', 19, 20),
                ('b', 21, 40),
                ('s', 41, 50)
            ]
        );
        assert_eq!(known.partly_known, [(Revision(21), Revision(30))]);
    }

    #[test]
    fn what_was_compacted_before_the_first_base_is_not_known() {
        let known = known(&holdings(&[(10, 6), (12, 9)], &[]));
        assert_eq!(told(&known), [('b', 1, 10), ('b', 11, 12)]);
        assert_eq!(known.partly_known, [(Revision(1), Revision(6))]);
    }

    #[test]
    fn segments_that_no_base_reaches_are_not_told() {
        assert_eq!(known(&holdings(&[], &[(2, 9)])), Known::default());
        assert_eq!(
            told(&known(&holdings(&[(10, 0)], &[(12, 14)]))),
            [('b', 1, 10)]
        );
    }
}
