//! Which revisions can be brought back: computed, never claimed.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;

use crate::inventory::Inventory;

/// Revisions between covered ones that cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first missing revision.
    pub first: Revision,
    /// The last missing revision.
    pub last: Revision,
    /// Why, where an agent recorded it.
    pub reason: Option<String>,
}

/// The set of revisions of one timeline that can be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Closed ranges, ascending, neither overlapping nor touching.
    pub ranges: Vec<(Revision, Revision)>,
    /// What is missing between them, and what was recorded as lost after them: ascending, none overlapping.
    pub gaps: Vec<Missing>,
}

impl Coverage {
    /// A base covers what its own history holds, from the source's compact revision to its own; segments carry on from
    /// there as long as none is missing. Segments that no base reaches cover nothing.
    pub fn compute(inventory: &Inventory) -> Self {
        let runs = merge(
            inventory
                .segments
                .iter()
                .map(|segment| (segment.first, segment.last)),
        );
        let bases = inventory.bases.iter();
        let ranges = reached(bases.map(|base| base.manifest.covers()), &runs);
        Self::of_ranges(ranges, inventory.gaps.iter().map(|gap| &gap.record))
    }

    /// The coverage of ranges that [`reached`] gave, with what was recorded as lost, in the order of names.
    pub(crate) fn of_ranges<'a>(
        ranges: Vec<(Revision, Revision)>,
        recorded: impl Iterator<Item = &'a GapRecord> + Clone,
    ) -> Self {
        let gaps = missing(&ranges, recorded);
        Self { ranges, gaps }
    }

    /// Whether a revision can be restored.
    pub fn contains(&self, revision: Revision) -> bool {
        self.nearest(revision) == (Some(revision), Some(revision))
    }

    /// The highest recovery point at or below a revision, and the lowest at or above it.
    pub fn nearest(&self, revision: Revision) -> (Option<Revision>, Option<Revision>) {
        let after = self.ranges.partition_point(|range| range.0 <= revision);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        let below = before.map(|range| range.1.min(revision));
        let above = match below {
            Some(below) if below == revision => below.into(),
            _ => self.ranges.get(after).map(|range| range.0),
        };
        (below, above)
    }

    /// The newest recovery point.
    pub fn newest(&self) -> Option<Revision> {
        self.ranges.last().map(|range| range.1)
    }

    /// The oldest recovery point.
    pub fn oldest(&self) -> Option<Revision> {
        self.ranges.first().map(|range| range.0)
    }
}

/// The union of closed ranges; ranges that touch become one.
pub(crate) fn merge(
    ranges: impl Iterator<Item = (Revision, Revision)>,
) -> Vec<(Revision, Revision)> {
    let mut sorted: Vec<_> = ranges.filter(|range| range.0 <= range.1).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(Revision, Revision)> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.0 <= last.1.next() => last.1 = last.1.max(range.1),
            _ => merged.push(range),
        }
    }
    merged
}

/// What bases can bring back: of each the history that it holds itself, and what runs of segments carry on from there.
pub(crate) fn reached(
    bases: impl Iterator<Item = (Revision, Revision)>,
    runs: &[(Revision, Revision)],
) -> Vec<(Revision, Revision)> {
    let reached = |base: (Revision, Revision)| {
        let run = runs
            .partition_point(|run| run.0 <= base.1.next())
            .checked_sub(1);
        let end = run
            .and_then(|run| runs.get(run))
            .map_or(base.1, |run| run.1.max(base.1));
        (base.0, end)
    };
    merge(bases.map(reached))
}

fn missing<'a>(
    ranges: &[(Revision, Revision)],
    all: impl Iterator<Item = &'a GapRecord> + Clone,
) -> Vec<Missing> {
    let recorded = |first: Revision, last: Revision| {
        let mut gaps = all.clone();
        gaps.find(|gap| gap.first <= last && gap.last >= first)
            .map(|gap| gap.reason.clone())
    };
    let between = ranges.iter().zip(ranges.iter().skip(1));
    let mut gaps: Vec<_> = between
        .map(|(left, right)| (left.1.next(), right.0.previous()))
        .map(|(first, last)| Missing {
            first,
            last,
            reason: recorded(first, last),
        })
        .collect();
    let newest = ranges.last().map_or(Revision::ZERO, |range| range.1);
    let mut open: Vec<_> = all.filter(|gap| gap.last > newest).collect();
    open.sort_by_key(|gap| (gap.first, gap.last));
    for gap in open {
        let first = gap.first.max(newest.next());
        match gaps.last_mut() {
            // Told again, by another agent or by the same one after a restart.
            Some(before) if first <= before.last => before.last = before.last.max(gap.last),
            _ => gaps.push(Missing {
                first,
                last: gap.last,
                reason: Some(gap.reason.clone()),
            }),
        }
    }
    gaps
}

#[cfg(test)]
mod tests;
