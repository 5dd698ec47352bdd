//! Why revisions cannot be brought back. Pure: [`crate::verify`] and the catalog say the same.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;

use crate::coverage::{Coverage, merge};
use crate::layout::NameKind;

/// A closed range of revisions.
pub(crate) type Range = (Revision, Revision);

/// Why a range cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) first: Revision,
    pub(crate) last: Revision,
    /// `thinned`, `lost` or `missing`.
    pub(crate) kind: &'static str,
    pub(crate) reason: Option<String>,
}

/// What retention deleted of a timeline.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deleted {
    /// Ranges of segments, as [`merge`] gives them.
    pub(crate) segments: Vec<Range>,
    /// Revisions of bases.
    pub(crate) bases: Vec<Revision>,
}

impl Deleted {
    /// What objects with these names were of.
    pub(crate) fn of(names: impl Iterator<Item = NameKind>) -> Self {
        let mut deleted = Self::default();
        for name in names {
            match name {
                NameKind::Segment { first, last, .. } => deleted.segments.push((first, last)),
                NameKind::Base { revision, .. } => deleted.bases.push(revision),
                NameKind::Timeline | NameKind::Gap { .. } => {}
            }
        }
        deleted.segments = merge(deleted.segments.into_iter());
        deleted.bases.sort_unstable();
        deleted
    }
}

/// The parts of all that cannot be brought back, ascending: between what can, above it where an agent recorded a loss,
/// and below it where retention deleted.
///
/// What segments held that retention deleted is thinned, unless it was recorded not to be what the source had. Of the
/// rest, what an agent recorded is lost; what lies at or below a deleted base is thinned, for its own history may have
/// held it; and what nobody says anything of is missing.
pub(crate) fn holes(coverage: &Coverage, gaps: &[GapRecord], deleted: &Deleted) -> Vec<Hole> {
    let mut holes = Vec::new();
    for range in uncovered(coverage, deleted) {
        split(range, gaps, deleted, &mut holes);
    }
    holes
}

fn uncovered(coverage: &Coverage, deleted: &Deleted) -> Vec<Range> {
    let oldest = coverage.oldest();
    let below = |range: &Range| -> Option<Range> {
        match oldest {
            Some(oldest) if range.0 >= oldest => None,
            Some(oldest) => Some((range.0, range.1.min(oldest.previous()))),
            None => Some(*range),
        }
    };
    let went = deleted.segments.iter().copied();
    let went = went.chain(deleted.bases.iter().map(|base| (*base, *base)));
    let went: Vec<Range> = went.filter_map(|range| below(&range)).collect();
    let gaps = coverage.gaps.iter().map(|gap| (gap.first, gap.last));
    merge(went.into_iter().chain(gaps))
}

fn split(range: Range, gaps: &[GapRecord], deleted: &Deleted, holes: &mut Vec<Hole>) {
    let mut edges = vec![range.0, range.1.next()];
    let within = |revision: Revision| range.0 < revision && revision <= range.1;
    let ranges = gaps.iter().map(|gap| (gap.first, gap.last));
    for (first, last) in ranges.chain(deleted.segments.iter().copied()) {
        edges.extend(
            [first, last.next()]
                .into_iter()
                .filter(|edge| within(*edge)),
        );
    }
    let bases = deleted.bases.iter().filter(|base| range.0 <= **base);
    let top = bases.filter(|base| **base <= range.1).max();
    edges.extend(top.map(|base| base.next()).filter(|edge| within(*edge)));
    edges.sort_unstable();
    edges.dedup();
    for pair in edges.windows(2) {
        let [first, end] = pair else { continue };
        let (kind, reason) = why(*first, gaps, deleted, top.copied());
        match holes.last_mut() {
            Some(before)
                if before.last.next() == *first
                    && before.kind == kind
                    && before.reason == reason =>
            {
                before.last = end.previous();
            }
            _ => holes.push(Hole {
                first: *first,
                last: end.previous(),
                kind,
                reason,
            }),
        }
    }
}

fn why(
    at: Revision,
    gaps: &[GapRecord],
    deleted: &Deleted,
    top: Option<Revision>,
) -> (&'static str, Option<String>) {
    let holds = |range: Range| range.0 <= at && at <= range.1;
    let recorded = |distrusted: Option<bool>| {
        let mut gaps = gaps.iter();
        gaps.find(|gap| {
            holds((gap.first, gap.last)) && distrusted.is_none_or(|is| is == gap.distrusted)
        })
        .map(|gap| gap.reason.clone())
    };
    if let Some(reason) = recorded(Some(true)) {
        return ("lost", Some(reason));
    }
    let after = deleted.segments.partition_point(|range| range.0 <= at);
    let segment = after.checked_sub(1).and_then(|at| deleted.segments.get(at));
    if segment.is_some_and(|range| holds(*range)) {
        return ("thinned", None);
    }
    if let Some(reason) = recorded(None) {
        return ("lost", Some(reason));
    }
    match top {
        Some(base) if at <= base => ("thinned", None),
        _ => ("missing", None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gap(first: i64, last: i64, distrusted: bool) -> GapRecord {
        GapRecord {
            first: Revision(first),
            last: Revision(last),
            reason: format!("gap at {first}"),
            distrusted,
        }
    }

    fn told(
        ranges: &[(i64, i64)],
        gaps: &[GapRecord],
        segments: &[(i64, i64)],
        bases: &[i64],
    ) -> Vec<(i64, i64, &'static str)> {
        let revisions = |ranges: &[(i64, i64)]| -> Vec<Range> {
            ranges
                .iter()
                .map(|(a, b)| (Revision(*a), Revision(*b)))
                .collect()
        };
        let coverage = Coverage::of_ranges(revisions(ranges), gaps.iter());
        let deleted = Deleted {
            segments: merge(revisions(segments).into_iter()),
            bases: bases.iter().map(|base| Revision(*base)).collect(),
        };
        let holes = holes(&coverage, gaps, &deleted);
        holes
            .iter()
            .map(|hole| (hole.first.0, hole.last.0, hole.kind))
            .collect()
    }

    #[test]
    fn what_retention_deleted_is_not_called_lost() {
        let daily = [(1, 1), (100, 100), (200, 300)];
        assert_eq!(
            told(&daily, &[], &[(2, 199)], &[]),
            [(2, 99, "thinned"), (101, 199, "thinned")]
        );
        assert_eq!(
            told(
                &daily,
                &[gap(110, 120, false)],
                &[(2, 109), (121, 199)],
                &[]
            ),
            [
                (2, 99, "thinned"),
                (101, 109, "thinned"),
                (110, 120, "lost"),
                (121, 199, "thinned")
            ]
        );
        assert_eq!(
            told(&daily, &[], &[], &[]),
            [(2, 99, "missing"), (101, 199, "missing")]
        );
        // The history of a base that is gone reached down from it, nobody knows how far.
        assert_eq!(
            told(&daily, &[], &[(2, 99), (151, 199)], &[150]),
            [(2, 99, "thinned"), (101, 199, "thinned")]
        );
    }

    #[test]
    fn below_the_oldest_only_what_was_there_is_named() {
        assert_eq!(
            told(&[(50, 60)], &[], &[(10, 49)], &[20]),
            [(10, 49, "thinned")]
        );
        assert_eq!(told(&[(50, 60)], &[gap(1, 5, false)], &[], &[]), []);
        assert_eq!(told(&[], &[], &[(3, 9)], &[9]), [(3, 9, "thinned")]);
    }

    #[test]
    fn what_was_not_the_sources_is_lost_even_if_it_was_deleted() {
        assert_eq!(
            told(&[(1, 9), (20, 30)], &[gap(12, 15, true)], &[(10, 19)], &[]),
            [(10, 11, "thinned"), (12, 15, "lost"), (16, 19, "thinned")]
        );
    }

    proptest! {
        #[test]
        fn holes_are_just_the_gaps_and_what_was_deleted_below(
            covered in proptest::collection::vec((1..80_i64, 0..9_i64), 0..5),
            lost in proptest::collection::vec((1..90_i64, 0..9_i64, any::<bool>()), 0..4),
            segments in proptest::collection::vec((1..80_i64, 0..9_i64), 0..5),
            bases in proptest::collection::vec(1..80_i64, 0..3),
        ) {
            let range = |(first, len): (i64, i64)| (Revision(first), Revision(first + len));
            let gaps: Vec<_> = lost.into_iter().map(|(first, len, distrusted)| gap(first, first + len, distrusted)).collect();
            let coverage = Coverage::of_ranges(merge(covered.into_iter().map(range)), gaps.iter());
            let deleted = Deleted {
                segments: merge(segments.into_iter().map(range)),
                bases: bases.into_iter().map(Revision).collect(),
            };
            let holes = holes(&coverage, &gaps, &deleted);
            prop_assert!(holes.is_sorted_by(|a, b| a.last < b.first));
            for at in (1..110).map(Revision) {
                let hole = holes.iter().find(|hole| hole.first <= at && at <= hole.last);
                let gap = coverage.gaps.iter().any(|gap| gap.first <= at && at <= gap.last);
                let below = coverage.oldest().is_none_or(|oldest| at < oldest);
                let went = deleted.bases.contains(&at) || deleted.segments.iter().any(|range| range.0 <= at && at <= range.1);
                prop_assert_eq!(hole.is_some(), gap || below && went, "{}", at);
                prop_assert!(hole.is_none() || !coverage.contains(at));
                if let Some(hole) = hole {
                    let recorded = gaps.iter().any(|gap| gap.first <= at && at <= gap.last);
                    prop_assert!(hole.kind != "lost" || recorded);
                    prop_assert!(hole.kind != "missing" || !recorded && !went);
                }
            }
        }
    }
}
