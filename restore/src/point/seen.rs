//! When revisions were seen.
//!
//! etcd stamps no times, so a segment notes when its agent saw each change come. A change cannot be seen before it
//! happens, so of several agents, of which one may have been behind, the earliest note counts; and since revisions happen in order, a
//! revision was there by the time at which any later one was seen.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_schemas::Revision;
pub use revkeep_vault::Spans;
use revkeep_vault::{SegmentEntry, SegmentIndex};

use crate::error::{Kind, RestoreError};
use crate::source::Source;

/// Segments after the one that is looked for whose times are looked at too: those of other agents, and those that a
/// clock that was set back has out of order.
const NEIGHBOURS: usize = 6;

/// When a revision was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was first seen, in milliseconds since 1970.
    pub from: Option<i64>,
    /// When the revision after it was first seen: until then this one was the newest.
    pub until: Option<i64>,
}

/// The newest revision that the timeline's agents had seen by a time, as far as segments and the bases at hand say.
///
/// Segments are searched by halves, which takes as many indexes as their number has binary digits.
///
/// # Errors
/// When the store cannot be reached. A damaged index is passed over where others have the times of what comes after the answer;
/// else it is [`Kind::Verification`]: later revisions may have been there by then.
pub async fn revision_at(source: &Source, unix_ms: i64) -> Result<Option<Revision>, RestoreError> {
    let segments = &source.inventory.segments;
    let mut marks = Marks::of(source);
    // All before `low` begin at the time or before, all from `high` on after it; but for clocks that were set.
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let Some((position, starts)) = marks.near(low, high).await? else {
            break;
        };
        if starts.is_some_and(|starts| starts > unix_ms) {
            high = position;
        } else {
            low = position + 1;
        }
    }
    marks
        .read(low.saturating_sub(NEIGHBOURS)..(high + NEIGHBOURS).min(segments.len()))
        .await?;
    let first = segments.first().map(|entry| entry.first);
    loop {
        let found = marks.spans.newest_by(unix_ms);
        let Some(next) = found.map(Revision::next).or(first) else {
            return Ok(found);
        };
        marks.read(marks.holding(next, next)).await?;
        // What was read now may know better.
        if marks.spans.newest_by(unix_ms) == found {
            marks.refuse_unless_told(next, found)?;
            return Ok(found);
        }
    }
}

/// When a revision was seen, as far as the segments around it and the bases at hand say. Until when it was the newest is known
/// only where the one after it is.
///
/// # Errors
/// As reading an index; a damaged one is passed over.
pub async fn seen(source: &Source, revision: Revision) -> Result<Seen, RestoreError> {
    let mut marks = Marks::of(source);
    let next = revision.next();
    let around = marks.holding(revision, next);
    marks.read(around).await?;
    let mut bases = source.inventory.bases.iter();
    let next_is_known = marks.is_told(next)
        || bases.any(|base| base.compact_revision <= next && next <= base.revision);
    let until = marks.spans.seen(next).filter(|_| next_is_known);
    Ok(Seen {
        from: marks.spans.seen(revision),
        until,
    })
}

/// When agents noted a revision in segments; what bases say does not count.
///
/// # Errors
/// As [`seen`].
pub async fn noted(source: &Source, revision: Revision) -> Result<Option<i64>, RestoreError> {
    let mut marks = Marks::of(source);
    marks.spans = Spans::default();
    let holding = marks.holding(revision, revision);
    marks.read(holding).await?;
    Ok(marks.spans.seen(revision))
}

/// The times of segments, as they are read.
struct Marks<'a> {
    source: &'a Source,
    spans: Spans,
    /// By the position of a segment: when it begins, or why that cannot be read.
    read: BTreeMap<usize, Result<Option<i64>, String>>,
}

impl<'a> Marks<'a> {
    fn of(source: &'a Source) -> Self {
        let mut spans = Spans::default();
        for base in &source.inventory.bases {
            spans.there_by(base.revision, base.manifest.facts.finished_unix_ms);
        }
        Self {
            source,
            spans,
            read: BTreeMap::new(),
        }
    }

    /// The positions of segments that hold one of two revisions.
    fn holding(&self, from: Revision, to: Revision) -> Vec<usize> {
        let segments = self.source.inventory.segments.iter().enumerate();
        let holding = segments.filter(|(_, entry)| entry.first <= to && entry.last >= from);
        holding.map(|(position, _)| position).collect()
    }

    /// Reads segments that were not read yet, a few at once.
    async fn read(
        &mut self,
        positions: impl IntoIterator<Item = usize>,
    ) -> Result<(), RestoreError> {
        let source = self.source;
        let wanted: Vec<_> = positions
            .into_iter()
            .filter(|position| !self.read.contains_key(position))
            .filter_map(|position| Some((position, source.inventory.segments.get(position)?)))
            .collect();
        let mut indexes = stream::iter(wanted)
            .map(|(position, entry)| async move {
                Ok::<_, RestoreError>((position, entry, index(source, entry).await?))
            })
            .buffered(8);
        while let Some((position, entry, index)) = indexes.try_next().await? {
            let starts = index.map(|index| {
                self.spans.add(&index, entry.last);
                index.times.first().map(|mark| mark.unix_ms)
            });
            self.read.insert(position, starts);
        }
        Ok(())
    }

    /// The readable segment that is the nearest to the middle of a range, and when it begins.
    async fn near(
        &mut self,
        low: usize,
        high: usize,
    ) -> Result<Option<(usize, Option<i64>)>, RestoreError> {
        let middle = usize::midpoint(low, high);
        let mut positions: Vec<_> = (low..high).collect();
        positions.sort_by_key(|position| position.abs_diff(middle));
        for position in positions {
            self.read([position]).await?;
            if let Some(Ok(starts)) = self.read.get(&position) {
                return Ok(Some((position, *starts)));
            }
        }
        Ok(None)
    }

    /// Whether a segment that was read says when a revision was seen.
    fn is_told(&self, revision: Revision) -> bool {
        let holding = self.holding(revision, revision);
        let mut read = holding.iter().filter_map(|at| self.read.get(at));
        read.any(Result::is_ok)
    }

    /// Refuses where only damaged segments would say when `next` was seen, the revision after the one that was found.
    fn refuse_unless_told(
        &self,
        next: Revision,
        found: Option<Revision>,
    ) -> Result<(), RestoreError> {
        let holding = self.holding(next, next);
        let lost = holding.iter().find_map(|at| match self.read.get(at) {
            Some(Err(reason)) => Some((self.source.inventory.segments.get(*at)?, reason)),
            _ => None,
        });
        let Some((entry, reason)) = lost.filter(|_| !self.is_told(next)) else {
            return Ok(());
        };
        let advice = found.map_or_else(String::new, |found| {
            format!("; {found} is the newest that is known to. Try: --to-revision {found}, or another revision")
        });
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "revisions {next} to {} may have been there at that time, and what would tell cannot be used: {reason}{advice}",
                entry.last
            ),
        ))
    }
}

/// An index, or why it cannot be used.
async fn index(
    source: &Source,
    entry: &SegmentEntry,
) -> Result<Result<SegmentIndex, String>, RestoreError> {
    match source.timeline.segment_index(entry).await {
        Ok(index) => Ok(Ok(index)),
        Err(error) if crate::survey::is_lost(&error) => {
            let named = error.to_string();
            Ok(Err(if named.contains(&entry.name) {
                named
            } else {
                format!("{}: {named}", entry.name)
            }))
        }
        Err(error) => Err(error.into()),
    }
}
