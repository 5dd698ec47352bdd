//! Decides what to compare, compares it, and raises the alarm.

use std::collections::BTreeSet;
use std::fmt;

use revkeep_schemas::Revision;
use revkeep_vault::{Piece, SegmentEntry};

use super::by_index::{Lane, by_index};
use super::compare_rows::{ReadFailure, first_difference, readings};
use crate::error::{Kind, RestoreError};
use crate::plan::Plan;
use crate::source::Source;
use crate::survey::{Survey, Surveyed};

/// Bytes of objects that are read to compare rows without being asked to.
pub const SMALL_BYTES: u64 = 32 * 1024 * 1024;

/// How far overlapping segments are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlaps {
    /// By their indexes; row by row where those do not tell and it costs little.
    #[default]
    Small,
    /// Row by row wherever the indexes do not tell.
    All,
}

/// How overlapping segments were compared; all that were compared agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct OverlapReport {
    /// Segments that hold revisions which the plan reads from another.
    pub segments: usize,
    /// Of these, how many the digests in the indexes settled.
    pub compared_by_index: usize,
    /// How many were compared row by row.
    pub compared_by_row: usize,
    /// How many were not compared in full.
    pub not_compared: usize,
}

impl fmt::Display for OverlapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agree = self.compared_by_index + self.compared_by_row;
        write!(
            f,
            "{agree} of {} segments compared and equal",
            self.segments
        )
    }
}

/// One segment to compare with what the plan reads of the same revisions.
struct Comparison<'a> {
    segment: &'a Surveyed,
    range: (Revision, Revision),
    /// The indexes contradict each other here.
    suspect: bool,
}

/// Compares all readings of the revisions above the base and up to the target. Notes say what could not be compared.
///
/// # Errors
/// [`Kind::Verification`] with both objects and the first differing revision; what reading reports.
pub async fn verify(
    source: &Source,
    plan: &Plan,
    survey: &Survey,
    overlaps: Overlaps,
    notes: &mut Vec<String>,
) -> Result<OverlapReport, RestoreError> {
    let (mut report, comparisons) = decide(plan, survey);
    let planned: u64 = steps(plan, survey)
        .map(|(segment, ..)| segment.entry.bytes)
        .sum();
    let allowed = match overlaps {
        Overlaps::Small => SMALL_BYTES.max(planned / 8),
        Overlaps::All => u64::MAX,
    };
    let mut spent = 0_u64;
    for comparison in comparisons {
        let reference = reference(plan, survey, comparison.range);
        let cost = reference.iter().map(|(entry, ..)| entry.bytes).sum::<u64>()
            + comparison.segment.entry.bytes;
        if spent.saturating_add(cost) > allowed && !comparison.suspect {
            report.not_compared += 1;
            continue;
        }
        spent = spent.saturating_add(cost);
        if compare(source, &comparison, &reference, notes).await? {
            report.compared_by_row += 1;
        } else {
            report.not_compared += 1;
        }
    }
    if report.not_compared > 0 && overlaps == Overlaps::Small {
        notes.push(format!(
            "{} of {} overlapping segments were not compared row by row; --verify-overlaps compares all",
            report.not_compared, report.segments
        ));
    }
    Ok(report)
}

/// What the plan reads: each segment with the range that is taken from it.
fn steps<'a>(
    plan: &'a Plan,
    survey: &'a Survey,
) -> impl Iterator<Item = (&'a Surveyed, Revision, Revision)> {
    plan.steps
        .iter()
        .filter_map(|step| Some((survey.at(step.segment)?, step.from, step.to)))
}

/// What the indexes settle, and what is left to be compared row by row.
fn decide<'a>(plan: &'a Plan, survey: &'a Survey) -> (OverlapReport, Vec<Comparison<'a>>) {
    let lane = |segment: &Surveyed| Lane {
        position: segment.position,
        first: segment.entry.first,
        last: segment.entry.last,
        digest: segment.digest,
    };
    let planned: Vec<_> = steps(plan, survey)
        .map(|(segment, ..)| lane(segment))
        .collect();
    let read: BTreeSet<_> = planned.iter().map(|lane| lane.position).collect();
    let others: Vec<_> = survey
        .segments
        .iter()
        .filter(|segment| !read.contains(&segment.position))
        .collect();
    let lanes: Vec<_> = others.iter().map(|segment| lane(segment)).collect();
    let verdict = by_index(&planned, &lanes);
    let suspect = |position| {
        let mut all = verdict.contradictions.iter();
        all.any(|found| found.others.contains(&position))
    };

    let after = plan.base_fact.revision;
    let mut comparisons: Vec<_> = others
        .iter()
        .filter(|segment| !verdict.agreeing.contains(&segment.position))
        .map(|segment| Comparison {
            segment,
            range: (
                segment.entry.first.max(after.next()),
                segment.entry.last.min(plan.target),
            ),
            suspect: suspect(segment.position),
        })
        .collect();
    // Of a segment whose beginning another has given already, only the rest is read.
    let repeated = steps(plan, survey)
        .map(|(segment, from, _)| Comparison {
            segment,
            range: (segment.entry.first.max(after.next()), from.previous()),
            suspect: false,
        })
        .filter(|comparison| comparison.range.0 <= comparison.range.1);
    let by_index = others.len() - comparisons.len();
    comparisons.extend(repeated);
    let report = OverlapReport {
        segments: by_index + comparisons.len(),
        compared_by_index: by_index,
        ..OverlapReport::default()
    };
    (report, comparisons)
}

type Part = (SegmentEntry, Revision, Revision);

/// What the plan reads of a range.
fn reference(plan: &Plan, survey: &Survey, range: (Revision, Revision)) -> Vec<Part> {
    steps(plan, survey)
        .filter(|(_, from, to)| *from <= range.1 && range.0 <= *to)
        .map(|(segment, from, to)| (segment.entry.clone(), from.max(range.0), to.min(range.1)))
        .collect()
}

fn piece((entry, from, to): &Part) -> Piece {
    Piece::Segment {
        entry: entry.clone(),
        from: *from,
        to: *to,
    }
}

/// Says whether the segment was compared in full.
async fn compare(
    source: &Source,
    comparison: &Comparison<'_>,
    reference: &[Part],
    notes: &mut Vec<String>,
) -> Result<bool, RestoreError> {
    let (from, to) = comparison.range;
    let entry = &comparison.segment.entry;
    let own = piece(&(entry.clone(), from, to));
    let planned = reference.iter().map(piece).collect();
    let (one, other) = readings(&source.timeline, vec![own], planned);
    let differs = match first_difference(one, other).await {
        Ok(differs) => differs,
        Err(ReadFailure::Other(error)) => return Err(error),
        // What is not needed may be damaged.
        Err(ReadFailure::One(error)) if error.kind() == Kind::Unreachable => return Err(error),
        Err(ReadFailure::One(error)) => {
            notes.push(format!(
                "{} was not needed and could not be compared: {error}",
                entry.name
            ));
            return Ok(false);
        }
    };
    if let Some(at) = differs {
        return Err(diverged(entry, reference, at));
    }
    if comparison.suspect {
        notes.push(format!(
            "{} has the same rows from {from} to {to} as the segments that were read, but the digest in its index or in theirs \
             says otherwise: rows outside of that range differ, or an index is wrong",
            entry.name
        ));
    }
    Ok(true)
}

fn diverged(entry: &SegmentEntry, reference: &[Part], at: Revision) -> RestoreError {
    let other = reference
        .iter()
        .find(|(_, from, to)| *from <= at && at <= *to)
        .map_or("another", |(entry, ..)| entry.name.as_str());
    RestoreError::new(
        Kind::Verification,
        format!(
            "{} and {other} hold different rows at revision {at}: a member of the source has diverged from the others, or an object was \
             tampered with. Nothing was written. Revisions up to {} are not affected and can be restored; to find the member, \
             compare `etcdctl endpoint hashkv --cluster --rev {at}`",
            entry.name,
            at.previous()
        ),
    )
}
