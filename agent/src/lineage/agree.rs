//! Whether what waits in the spool is of the timeline in the vault.
//!
//! While the store is away, capture goes on from what was remembered of it. A source that was set back meanwhile below what is
//! stored cannot be told then, and what it has written since is in the spool. Both hold the same revisions, and what is stored
//! counts. Nor can it be told then that what waits was captured wrongly, and that this is recorded: no segment that holds any
//! of such revisions counts, so capture must not go on behind one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::segment::{SealedSegment, SegmentReader};
use revkeep_vault::{ErrorKind, Piece, SegmentEntry, Timeline, TimelineId, Trusted};

use super::fork::revisions;
use super::trail::digest;
use crate::AgentError;
use crate::spool::{Folder, Name, Place};
use crate::target::Target;

/// What waits.
#[derive(Debug, Default)]
struct Parted {
    /// What is of the timeline.
    left: Vec<Name>,
    /// What is of another history.
    foreign: Vec<Name>,
    /// What holds revisions that are recorded not to be what the source had.
    distrusted: Vec<Name>,
}

/// The names of what waits and is of the timeline. What another history wrote is set aside, with all that follows it and all
/// that leads to it without a hole; so is what holds distrusted revisions.
///
/// # Errors
/// As the store or the disk fails. What cannot be read tells nothing.
pub(super) async fn of_timeline(
    target: &Target,
    trusted: &Trusted,
    state_dir: &Path,
    waiting: Vec<Name>,
) -> Result<Vec<Name>, AgentError> {
    let parted = part(target, trusted, state_dir, waiting).await?;
    // Where the session before still has the folder, it is opened again once that has ended.
    if !parted.is_whole()
        && let Some(folder) = Folder::open(state_dir, Place::of(target))?
    {
        parted.set_aside(&folder, target.timeline.id());
    }
    Ok(parted.left)
}

/// [`of_timeline`] for whoever has the folder of that timeline.
///
/// # Errors
/// As the store fails. What cannot be read tells nothing.
pub(crate) async fn of_timeline_in(
    folder: &Folder,
    target: &Target,
    trusted: &Trusted,
    (state_dir, waiting): (&Path, Vec<Name>),
) -> Result<Vec<Name>, AgentError> {
    let parted = part(target, trusted, state_dir, waiting).await?;
    parted.set_aside(folder, target.timeline.id());
    Ok(parted.left)
}

async fn part(
    target: &Target,
    trusted: &Trusted,
    state_dir: &Path,
    waiting: Vec<Name>,
) -> Result<Parted, AgentError> {
    let foreign = foreign_from(target, trusted, state_dir, &waiting).await?;
    let mut parted = Parted::default();
    for name in waiting {
        let side = if foreign.is_some_and(|from| name.first >= from) {
            &mut parted.foreign
        } else if trusted.distrusts(name.first, name.last) {
            &mut parted.distrusted
        } else {
            &mut parted.left
        };
        side.push(name);
    }
    Ok(parted)
}

impl Parted {
    fn is_whole(&self) -> bool {
        self.foreign.is_empty() && self.distrusted.is_empty()
    }

    /// Sets aside what is not of the timeline.
    fn set_aside(&self, folder: &Folder, id: TimelineId) {
        if let Some(first) = self.foreign.first() {
            tracing::error!(
                timeline = %id, first = %first.first, segments = self.foreign.len(),
                "what waits in the spool is of another history than what is stored of this timeline: the source was set back \
                 while the object store was away"
            );
            let reason = format!("it is of another history than timeline {id}");
            reject(folder, &self.foreign, reason);
        }
        if let Some(first) = self.distrusted.first() {
            tracing::warn!(
                timeline = %id, first = %first.first, segments = self.distrusted.len(),
                "what waits in the spool was captured wrongly, as is recorded in the vault"
            );
            let reason = format!(
                "timeline {id} has a record that what was captured of its revisions is not what the source had"
            );
            reject(folder, &self.distrusted, reason);
        }
    }
}

fn reject(folder: &Folder, names: &[Name], reason: String) {
    let reason = AgentError::Lineage(reason);
    for name in names {
        folder.reject(name.first, name.last, name.uid, &reason);
    }
}

/// The first revision of what another history wrote, or may have written.
async fn foreign_from(
    target: &Target,
    trusted: &Trusted,
    state_dir: &Path,
    waiting: &[Name],
) -> Result<Option<Revision>, AgentError> {
    for name in waiting {
        let meets = |entry: &&SegmentEntry| entry.first <= name.last && entry.last >= name.first;
        let mut stored: Vec<_> = trusted.segments.iter().filter(meets).collect();
        // What was captured wrongly differs for that reason.
        if stored.is_empty() || trusted.distrusts(name.first, name.last) {
            continue;
        }
        stored.sort_by_key(|entry| Reverse(entry.last));
        if is_same(target, &stored, state_dir, *name).await? {
            continue;
        }
        // What leads to it without a hole may have come from the same source.
        let mut from = name.first;
        for name in waiting.iter().rev() {
            if name.first < from && name.last.next() >= from {
                from = name.first;
            }
        }
        return Ok(Some(from));
    }
    Ok(None)
}

/// Whether what waits has the same rows as what is stored at the same revisions.
async fn is_same(
    target: &Target,
    stored: &[&SegmentEntry],
    state_dir: &Path,
    name: Name,
) -> Result<bool, AgentError> {
    let ours = match waiting_rows(target, state_dir, name).await {
        Ok(ours) => ours,
        Err(error) => {
            tracing::warn!(%error, "a spooled segment cannot be compared with the vault");
            return Ok(true);
        }
    };
    for entry in stored {
        match same_rows(&target.timeline, entry, name, &ours).await {
            // One is enough: the others were stored by those who had compared them.
            Ok(same) => return Ok(same),
            Err(AgentError::Vault(error)) if error.kind() == ErrorKind::Retry => {
                return Err(error.into());
            }
            Err(error) => {
                tracing::warn!(%error, "a stored segment cannot be compared with the spool");
            }
        }
    }
    Ok(true)
}

/// Whether both have the same rows at the revisions that both have.
async fn same_rows(
    timeline: &Timeline,
    entry: &SegmentEntry,
    name: Name,
    ours: &BTreeMap<Revision, RowDigest>,
) -> Result<bool, AgentError> {
    let (from, to) = (entry.first.max(name.first), entry.last.min(name.last));
    let piece = Piece::Segment {
        entry: entry.clone(),
        from,
        to,
    };
    let theirs = revisions(timeline, vec![piece]).await?;
    Ok(theirs.iter().eq(ours.range(from..=to)))
}

/// The digest of each revision of a segment that waits.
async fn waiting_rows(
    target: &Target,
    state_dir: &Path,
    name: Name,
) -> Result<BTreeMap<Revision, RowDigest>, AgentError> {
    let (folder, place) = (state_dir.to_path_buf(), Place::of(target));
    let reading = tokio::task::spawn_blocking(move || {
        let segment = Folder::peek(&folder, &place, name)?;
        digests(&segment)
    });
    reading
        .await
        .map_err(|error| AgentError::Internal(format!("reading the spool: {error}")))?
}

fn digests(segment: &SealedSegment) -> Result<BTreeMap<Revision, RowDigest>, AgentError> {
    let reader = SegmentReader::open(segment.bytes.clone(), &segment.identity)?;
    let mut found: BTreeMap<Revision, RowDigest> = BTreeMap::new();
    for frame in &reader.index().frames {
        for row in EncodedRows::new(&reader.frame(frame)?) {
            let row = row?;
            let sum = found.entry(row.key.main).or_default();
            *sum = sum.combine(digest([row]));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
