//! Chooses the base and the segments.

use revkeep_schemas::Revision;

use super::{BaseFact, History, Holdings, Plan, SegmentFact, Step, Target};
use crate::error::{Kind, Nearest, RestoreError};

/// The ranges of revisions, both ends included, ascending and disjoint, that the holdings can restore.
///
/// A base reaches from its compact revision to its own; contiguous segments carry it on.
#[must_use]
pub fn coverage(holdings: &Holdings) -> Vec<(Revision, Revision)> {
    let chain = Chain::new(holdings);
    let mut ranges: Vec<_> = holdings
        .bases
        .iter()
        .map(|base| (base.oldest(), chain.reach(base.revision)))
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(Revision, Revision)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.next() => *end = (*end).max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// The recovery points on both sides of a revision that is not covered.
#[must_use]
pub fn nearest(coverage: &[(Revision, Revision)], revision: Revision) -> Nearest {
    Nearest {
        below: coverage
            .iter()
            .map(|range| range.1)
            .filter(|last| *last < revision)
            .max(),
        above: coverage
            .iter()
            .map(|range| range.0)
            .filter(|first| *first > revision)
            .min(),
    }
}

/// Chooses what to read.
///
/// For [`History::AsSource`] that is the newest base at or below the target from which segments lead to it without a
/// hole, since it costs least and holds everything that the source still had; else, of the bases after the target whose own
/// history contains it, the one that holds most. For [`History::Everything`] it is the base that reaches furthest
/// back. After the base come the fewest segments, and of equals those that were merged most.
///
/// # Errors
/// [`Kind::OutsideCoverage`] or [`Kind::Gap`] with the nearest recovery points, of which there are none without a base.
pub fn choose(holdings: &Holdings, target: Target, history: History) -> Result<Plan, RestoreError> {
    let covered = coverage(holdings);
    let newest = covered.last().map(|range| range.1);
    let target = match (target, newest) {
        (_, None) => {
            return Err(RestoreError::new(
                Kind::OutsideCoverage,
                "the vault has no base of this timeline yet: let the agent run until `revkeep info` shows one",
            )
            .near(Nearest::default()));
        }
        (Target::Revision(revision), _) => revision,
        (Target::Latest, Some(newest)) => newest,
    };
    let chain = Chain::new(holdings);
    let chosen = holdings
        .bases
        .iter()
        .enumerate()
        .filter(|(_, base)| base.oldest() <= target && chain.reach(base.revision) >= target)
        .max_by_key(|(_, base)| preference(**base, target, history));
    let Some((position, base)) = chosen else {
        return Err(unreachable_target(holdings, &covered, target));
    };
    Ok(Plan {
        target,
        base: position,
        base_fact: *base,
        steps: chain.steps(base.revision, target),
    })
}

/// The segments that lead on from a revision without a hole, as far as they go.
pub(super) fn carried_on(holdings: &Holdings, after: Revision) -> Vec<Step> {
    let chain = Chain::new(holdings);
    chain.steps(after, chain.reach(after))
}

/// Greater is better; the fields count in order.
fn preference(base: BaseFact, target: Revision, history: History) -> (bool, i64, i64) {
    let depth = base.compact_revision.0.saturating_neg();
    match history {
        History::Everything => (true, depth, base.revision.0),
        // The whole of what is asked for first, then what costs least.
        History::CompactedAt(revision)
            if base.revision <= target && base.compact_revision <= revision =>
        {
            (true, base.revision.0, depth)
        }
        History::AsSource if base.revision <= target => (true, base.revision.0, depth),
        History::CompactedAt(_) | History::AsSource => {
            (false, depth, base.revision.0.saturating_neg())
        }
    }
}

fn unreachable_target(
    holdings: &Holdings,
    covered: &[(Revision, Revision)],
    target: Revision,
) -> RestoreError {
    let near = nearest(covered, target);
    let lost = holdings
        .gaps
        .iter()
        .find(|gap| gap.0 <= target && target <= gap.1);
    let error = match (lost, near.below, near.above) {
        (Some((from, to)), ..) => RestoreError::new(
            Kind::Gap,
            format!("revision {target} lies in the gap {from} to {to}, which was never captured"),
        ),
        (None, Some(below), Some(above)) => RestoreError::new(
            Kind::Gap,
            format!(
                "revision {target} lies between {below} and {above}, where the vault holds no unbroken history"
            ),
        ),
        _ => RestoreError::new(
            Kind::OutsideCoverage,
            format!("revision {target} is outside what the vault can restore"),
        ),
    };
    error.near(near)
}

/// The segments in the order in which a greedy cover takes them.
struct Chain<'a> {
    holdings: &'a Holdings,
    /// Positions, by first revision.
    by_first: Vec<usize>,
}

impl<'a> Chain<'a> {
    fn new(holdings: &'a Holdings) -> Self {
        let mut by_first: Vec<_> = (0..holdings.segments.len()).collect();
        by_first.sort_by_key(|position| {
            holdings
                .segments
                .get(*position)
                .map_or(Revision::MAX, |segment| segment.first)
        });
        Self { holdings, by_first }
    }

    fn ordered(&self) -> impl Iterator<Item = (usize, SegmentFact)> {
        self.by_first
            .iter()
            .filter_map(|at| Some((*at, *self.holdings.segments.get(*at)?)))
    }

    /// The furthest revision to which segments lead from `revision` without a hole.
    fn reach(&self, revision: Revision) -> Revision {
        let mut reached = revision;
        for (_, segment) in self.ordered() {
            if segment.first > reached.next() {
                break;
            }
            reached = reached.max(segment.last);
        }
        reached
    }

    /// The fewest segments from just after `after` up to `target`: always the one that carries furthest; of equals the one
    /// that was merged most, then the one that repeats least of what was read.
    fn steps(&self, after: Revision, target: Revision) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut reached = after;
        let mut best: Option<(usize, SegmentFact)> = None;
        let mut ordered = self.ordered().peekable();
        while reached < target {
            while let Some((at, segment)) =
                ordered.next_if(|(_, segment)| segment.first <= reached.next())
            {
                let better = best.is_none_or(|(_, other)| {
                    (segment.last.min(target), segment.level, segment.first)
                        > (other.last.min(target), other.level, other.first)
                });
                if better {
                    best = Some((at, segment));
                }
            }
            let Some((segment, fact)) = best.take().filter(|(_, fact)| fact.last > reached) else {
                break;
            };
            let to = fact.last.min(target);
            steps.push(Step {
                segment,
                from: reached.next(),
                to,
            });
            reached = to;
        }
        steps
    }
}
