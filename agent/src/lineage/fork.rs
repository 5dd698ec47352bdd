//! The highest revision that a snapshot of a new history shares with a timeline.
//!
//! Segments hold whole revisions, and their indexes the digest of all rows. The same digest over the snapshot's rows of the
//! same range means the same content, so the first segment that differs is found by its index alone, and the revision in it
//! by its rows. What the snapshot's source had compacted cannot be compared: then the result is only a bound. Nor can a hole
//! in the timeline: where the two part in one, or right behind it, the result is the last revision before it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{FormatError, Revision, RowSource};
use revkeep_vault::{Piece, ReadOptions, SegmentEntry, Timeline, TimelineId};

use super::trail::digest;
use crate::AgentError;
use crate::base::Taken;
use crate::spool::Range;

/// Timelines that are compared, the newest first.
const TIMELINES: usize = 8;
/// So many segments are looked at one by one; where there are more, the first that differs is found by halves.
const ONE_BY_ONE: usize = 32;
/// Chunks of a base that are compared at most.
const CHUNKS: usize = 64;

/// Where a new history parts from a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) parent: TimelineId,
    /// The highest revision that both share; zero for none.
    pub(super) revision: Revision,
    /// Whether that is only a bound.
    pub(super) at_most: bool,
}

/// The timeline with which the snapshot shares most; the newest of those that share as much.
pub(super) async fn parent(
    timelines: &[Timeline],
    taken: &Taken,
) -> Result<Option<Fork>, AgentError> {
    let mut best: Option<Fork> = None;
    for timeline in timelines.iter().rev().take(TIMELINES) {
        let fork = shared(timeline, taken).await?;
        tracing::debug!(?fork, "compared with a timeline");
        // What is certain counts for more than a bound.
        let worth = |fork: &Fork| (!fork.at_most && fork.revision.0 > 0, fork.revision);
        if best.as_ref().is_none_or(|best| worth(best) < worth(&fork)) {
            best = Some(fork);
        }
    }
    Ok(best)
}

async fn shared(timeline: &Timeline, taken: &Taken) -> Result<Fork, AgentError> {
    let (compact, end) = (taken.position.compact_revision, taken.position.revision);
    let fork = |revision: Revision, at_most| Fork {
        parent: timeline.id(),
        revision: if revision > Revision::INITIAL {
            revision
        } else {
            Revision::ZERO
        },
        at_most,
    };
    let mut segments = timeline.segments().await?;
    // Of segments that overlap, those that reach on.
    let mut reached = compact;
    segments.retain(|segment| {
        let fits = segment.first > compact && segment.last > reached;
        reached = if fits { segment.last } else { reached };
        fits
    });
    let Some(first) = segments.first().map(|segment| segment.first) else {
        return of_base(timeline, taken).await.map(|found| match found {
            Some(found) => fork(found.same, found.at_most),
            None => fork(end.min(compact), true),
        });
    };
    let differs = first_that_differs(timeline, &segments, taken).await?;
    let Some((at, differs)) = differs.and_then(|at| Some((at, segments.get(at)?))) else {
        // The new history ends where the old one does, or before.
        return Ok(fork(reached.min(end), false));
    };
    let same = last_same(timeline, differs, taken).await?;
    if same >= first {
        let before = at.checked_sub(1).and_then(|before| segments.get(before));
        let before = before.map(|before| before.last);
        let (revision, at_most) = parted((differs.first, same), before);
        return Ok(fork(revision, at_most));
    }
    // They part before the first segment that can be compared, or right there.
    let base = of_base(timeline, taken).await?;
    Ok(match base {
        Some(OfBase {
            same: shared,
            at_most,
            end,
        }) if shared < same => {
            // All of the base is shared, and between it and the segment is a hole.
            fork(shared, at_most || shared == end)
        }
        Some(_) => fork(same, false),
        None => fork(same, true),
    })
}

/// Where two histories part that share all up to `same` of a segment that begins at `first`, and what is stored before it,
/// up to `before`: the revision, and whether it is only a bound. Not a revision of the segment may be shared; then they part
/// in the hole before it, if there is one, or behind it.
fn parted((first, same): Range, before: Option<Revision>) -> (Revision, bool) {
    match before {
        Some(before) if same < first && before < same => (before, true),
        _ => (same, false),
    }
}

/// The position of the first segment whose rows the snapshot does not have.
async fn first_that_differs(
    timeline: &Timeline,
    segments: &[SegmentEntry],
    taken: &Taken,
) -> Result<Option<usize>, AgentError> {
    let differs = async |at: usize| -> Result<bool, AgentError> {
        let Some(segment) = segments.get(at) else {
            return Ok(true);
        };
        if segment.first > taken.position.revision {
            return Ok(true);
        }
        let index = timeline.segment_index(segment).await?;
        let ours = digest_of(taken, (segment.first, segment.last)).await?;
        Ok(ours != index.digest)
    };
    let (mut low, mut high) = (0, segments.len());
    while high - low > ONE_BY_ONE {
        let middle = low + (high - low) / 2;
        if differs(middle).await? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    for at in low..high {
        if differs(at).await? {
            return Ok(Some(at));
        }
    }
    Ok((high < segments.len()).then_some(high))
}

/// The last revision of a segment up to which the snapshot has the same rows; the one before it if there is none.
async fn last_same(
    timeline: &Timeline,
    segment: &SegmentEntry,
    taken: &Taken,
) -> Result<Revision, AgentError> {
    let piece = Piece::Segment {
        entry: segment.clone(),
        from: segment.first,
        to: segment.last,
    };
    let theirs = revisions(timeline, vec![piece]).await?;
    let ours = revisions_of(taken, (segment.first, segment.last)).await?;
    Ok(parting(&theirs, &ours, segment.first.previous()))
}

/// The last revision before the two differ.
fn parting(
    theirs: &BTreeMap<Revision, RowDigest>,
    ours: &BTreeMap<Revision, RowDigest>,
    before: Revision,
) -> Revision {
    let mut same = before;
    for (revision, digest) in theirs {
        if ours.get(revision) != Some(digest) {
            break;
        }
        same = *revision;
    }
    same
}

/// What a base shares with the snapshot.
struct OfBase {
    /// The last revision.
    same: Revision,
    /// Whether that is only a bound.
    at_most: bool,
    /// The base's own revision.
    end: Revision,
}

/// Compares with the history in the oldest base that reaches above the snapshot's compact revision; `None` where nothing
/// can be compared.
async fn of_base(timeline: &Timeline, taken: &Taken) -> Result<Option<OfBase>, AgentError> {
    let Some(newest) = timeline
        .oldest_above(taken.position.compact_revision)
        .await?
    else {
        return Ok(None);
    };
    let facts = &newest.facts;
    let from = taken.position.compact_revision.max(facts.compact_revision);
    let chunks: Vec<_> = newest
        .chunks
        .iter()
        .filter(|chunk| chunk.last > from)
        .collect();
    if chunks.len() > CHUNKS {
        return Ok(None);
    }
    let pieces = chunks.into_iter().copied().map(Piece::Chunk).collect();
    let mut theirs = revisions(timeline, pieces).await?;
    theirs.retain(|revision, _| *revision > from);
    let ours = revisions_of(taken, (from.next(), facts.revision)).await?;
    let same = parting(&theirs, &ours, from);
    Ok(Some(OfBase {
        same,
        at_most: same == from && from > Revision::INITIAL,
        end: facts.revision,
    }))
}

/// The digest of each revision in the pieces.
pub(super) async fn revisions(
    timeline: &Timeline,
    pieces: Vec<Piece>,
) -> Result<BTreeMap<Revision, RowDigest>, AgentError> {
    let mut incoming = timeline.read_rows(pieces, ReadOptions::default());
    let mut found: BTreeMap<Revision, RowDigest> = BTreeMap::new();
    while let Some(rows) = incoming.recv().await {
        for row in EncodedRows::new(&rows?.bytes) {
            let row = row?;
            let sum = found.entry(row.key.main).or_default();
            *sum = sum.combine(digest([row]));
        }
    }
    Ok(found)
}

/// The digest of each revision in a range of the snapshot.
async fn revisions_of(
    taken: &Taken,
    (first, last): (Revision, Revision),
) -> Result<BTreeMap<Revision, RowDigest>, AgentError> {
    let path: PathBuf = taken.spooled.path().to_path_buf();
    let reading = tokio::task::spawn_blocking(move || {
        let mut rows = DbFile::open(&path)?.rows()?;
        rows.seek(first)?;
        let mut found: BTreeMap<Revision, RowDigest> = BTreeMap::new();
        while let Some(row) = rows.next_row()?
            && row.key.main <= last
        {
            let sum = found.entry(row.key.main).or_default();
            *sum = sum.combine(digest([row]));
        }
        Ok::<_, FormatError>(found)
    });
    let found = reading
        .await
        .map_err(|error| AgentError::Internal(format!("reading a snapshot: {error}")))??;
    Ok(found)
}

async fn digest_of(taken: &Taken, range: (Revision, Revision)) -> Result<RowDigest, AgentError> {
    let found = revisions_of(taken, range).await?;
    Ok(found
        .values()
        .fold(RowDigest::default(), |sum, digest| sum.combine(*digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parts_in_a_hole_shares_what_lies_before_it_at_most() {
        let parted = |first, same, before: Option<i64>| {
            let range = (Revision(first), Revision(same));
            let (revision, at_most) = parted(range, before.map(Revision));
            (revision.0, at_most)
        };
        // Segments up to 20 and from 31 on, of which nothing is shared: 21 to 30 were never seen.
        assert_eq!(parted(31, 30, Some(20)), (20, true));
        // Nothing is missing between them.
        assert_eq!(parted(31, 30, Some(30)), (30, false));
        assert_eq!(parted(31, 30, Some(35)), (30, false));
        // What is behind the hole is shared in part, so that the hole was the same.
        assert_eq!(parted(31, 33, Some(20)), (33, false));
        assert_eq!(parted(31, 31, None), (31, false));
    }

    #[test]
    fn the_last_revision_before_the_first_difference_is_shared() {
        let history = |digests: &[u128]| -> BTreeMap<_, _> {
            let digests = digests.iter().zip(10..);
            digests
                .map(|(digest, main)| (Revision(main), RowDigest(*digest)))
                .collect()
        };
        let theirs = history(&[1, 2, 3, 4]);
        let shared = |ours: &[u128]| parting(&theirs, &history(ours), Revision(9)).0;
        assert_eq!(shared(&[1, 2, 3, 4]), 13);
        assert_eq!(shared(&[1, 2, 3]), 12);
        assert_eq!(shared(&[1, 2, 9, 4]), 11);
        assert_eq!(shared(&[7, 2, 3, 4]), 9);
        assert_eq!(shared(&[]), 9);
    }
}
