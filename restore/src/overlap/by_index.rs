//! Compares overlapping segments by the digests in their indexes.

use std::collections::{BTreeMap, BTreeSet};

use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;

/// A segment, as far as its digest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Whatever the caller knows it by.
    pub position: usize,
    /// Its first revision.
    pub first: Revision,
    /// Its last revision.
    pub last: Revision,
    /// The digest of all its rows.
    pub digest: RowDigest,
}

/// Two runs of segments that cover the same revisions with different rows, by their own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The range that both cover, both ends included.
    pub range: (Revision, Revision),
    /// Positions of the segments of the other run.
    pub others: Vec<usize>,
}

/// What the digests tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Positions of those that hold exactly what the plan's segments hold.
    pub agreeing: BTreeSet<usize>,
    /// Where they cannot both be right.
    pub contradictions: Vec<Contradiction>,
}

/// Compares the segments that a plan reads with the others. Both may be in any order.
///
/// The others are laid out in runs without a hole or an overlap; wherever a run and the plan have two boundaries in
/// common, the digests between them add up to the same sum, or else rows differ. Of others in neither list nothing is
/// known.
#[must_use]
pub fn by_index(planned: &[Lane], others: &[Lane]) -> Verdict {
    let mut verdict = Verdict::default();
    let planned = runs(planned);
    let others = runs(others);
    for plan in &planned {
        let marks = boundaries(plan);
        for run in &others {
            compare(&marks, run, &mut verdict);
        }
    }
    verdict
}

/// Runs of segments of which each begins where the one before ended.
fn runs(segments: &[Lane]) -> Vec<Vec<Lane>> {
    let mut sorted = segments.to_vec();
    sorted.sort_by_key(|segment| (segment.first, segment.last));
    let mut runs: Vec<Vec<Lane>> = Vec::new();
    // By the revision that would continue them.
    let mut open: BTreeMap<Revision, Vec<usize>> = BTreeMap::new();
    for segment in sorted {
        let continued = open.get_mut(&segment.first).and_then(Vec::pop);
        let at = continued.unwrap_or(runs.len());
        match runs.get_mut(at) {
            Some(run) => run.push(segment),
            None => runs.push(vec![segment]),
        }
        open.entry(segment.last.next()).or_default().push(at);
    }
    runs
}

/// The digest of all rows of the run before each of its boundaries.
fn boundaries(run: &[Lane]) -> BTreeMap<Revision, RowDigest> {
    let mut sum = RowDigest::default();
    let mut marks = BTreeMap::new();
    for segment in run {
        marks.insert(segment.first, sum);
        sum = sum.combine(segment.digest);
        marks.insert(segment.last.next(), sum);
    }
    marks
}

fn compare(plan: &BTreeMap<Revision, RowDigest>, run: &[Lane], verdict: &mut Verdict) {
    let mut sum = RowDigest::default();
    let mut passed = Vec::new();
    // The last common boundary: where, and both sums there.
    let mut common: Option<(Revision, RowDigest, RowDigest)> = None;
    for segment in run {
        if let (None, Some(planned)) = (common, plan.get(&segment.first)) {
            common = Some((segment.first, *planned, sum));
            passed.clear();
        }
        sum = sum.combine(segment.digest);
        passed.push(segment.position);
        let end = segment.last.next();
        let Some(planned) = plan.get(&end) else {
            continue;
        };
        if let Some((from, planned_before, sum_before)) = common {
            let others = std::mem::take(&mut passed);
            if planned.without(planned_before) == sum.without(sum_before) {
                verdict.agreeing.extend(others);
            } else {
                verdict.contradictions.push(Contradiction {
                    range: (from, segment.last),
                    others,
                });
            }
        }
        passed.clear();
        common = Some((end, *planned, sum));
    }
}
