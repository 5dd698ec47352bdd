//! When revisions were seen.
//!
//! etcd stamps no times, so a segment notes when its agent saw each change come. A change cannot be seen before it
//! happens, so of several agents, of which one may have been behind, the earliest note counts; and since revisions happen in order, a
//! revision was there by the time at which any later one was seen.

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_schemas::Revision;
pub use revkeep_vault::Spans;
use revkeep_vault::{SegmentEntry, SegmentIndex};

use crate::error::RestoreError;
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
/// When the store cannot be reached. A damaged index is passed over.
pub async fn revision_at(source: &Source, unix_ms: i64) -> Result<Option<Revision>, RestoreError> {
    let segments = &source.inventory.segments;
    let mut spans = Spans::default();
    for base in &source.inventory.bases {
        spans.there_by(base.revision, base.manifest.facts.finished_unix_ms);
    }
    // All before `low` begin at the time or before, all from `high` on after it; but for clocks that were set.
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let index = match segments.get(middle) {
            Some(entry) => index(source, entry).await?,
            None => None,
        };
        let starts = index.as_ref().and_then(|index| index.times.first());
        let later = starts.is_some_and(|mark| mark.unix_ms > unix_ms);
        if let (Some(index), Some(entry)) = (&index, segments.get(middle)) {
            spans.add(index, entry.last);
        }
        if later {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let near = low.saturating_sub(NEIGHBOURS)..(low + NEIGHBOURS).min(segments.len());
    let near = segments.get(near).unwrap_or_default();
    read(source, near.iter().cloned(), &mut spans).await?;
    Ok(spans.newest_by(unix_ms))
}

/// When a revision was seen, as far as the segments around it and the bases at hand say.
///
/// # Errors
/// As [`revision_at`].
pub async fn seen(source: &Source, revision: Revision) -> Result<Seen, RestoreError> {
    let segments = &source.inventory.segments;
    let mut spans = Spans::default();
    for base in &source.inventory.bases {
        spans.there_by(base.revision, base.manifest.facts.finished_unix_ms);
    }
    let around = |entry: &&SegmentEntry| entry.first <= revision.next() && entry.last >= revision;
    let around: Vec<_> = segments.iter().filter(around).cloned().collect();
    read(source, around.into_iter(), &mut spans).await?;
    Ok(Seen {
        from: spans.seen(revision),
        until: spans.seen(revision.next()),
    })
}

async fn read(
    source: &Source,
    entries: impl Iterator<Item = SegmentEntry>,
    spans: &mut Spans,
) -> Result<(), RestoreError> {
    let mut indexes =
        stream::iter(entries)
            .map(|entry| async move {
                Ok::<_, RestoreError>((index(source, &entry).await?, entry.last))
            })
            .buffered(8);
    while let Some((index, last)) = indexes.try_next().await? {
        if let Some(index) = index {
            spans.add(&index, last);
        }
    }
    Ok(())
}

async fn index(
    source: &Source,
    entry: &SegmentEntry,
) -> Result<Option<SegmentIndex>, RestoreError> {
    match source.timeline.segment_index(entry).await {
        Ok(index) => Ok(Some(index)),
        Err(error) if crate::survey::is_lost(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
