//! Whether what waits in the spool is of the timeline in the vault.
//!
//! While the store is away, capture goes on from what was remembered of it. A source that was set back meanwhile below what is
//! stored cannot be told then, and what it has written since is in the spool. Both hold the same revisions, and what is stored
//! counts.

use std::collections::BTreeMap;
use std::path::Path;

use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::segment::{SealedSegment, SegmentReader};
use revkeep_vault::{ErrorKind, Piece, SegmentEntry};

use super::fork::revisions;
use super::trail::digest;
use crate::AgentError;
use crate::spool::{Folder, Name, Place};
use crate::target::Target;

/// The names of what waits and is of the timeline. What is not is set aside, with all that follows it without a hole and
/// leads to it.
///
/// # Errors
/// As the store or the disk fails. What cannot be read tells nothing.
pub(super) async fn of_timeline(
    target: &Target,
    stored: &[SegmentEntry],
    state_dir: &Path,
    waiting: Vec<Name>,
) -> Result<Vec<Name>, AgentError> {
    for name in &waiting {
        let meets = |entry: &&SegmentEntry| entry.first <= name.last && entry.last >= name.first;
        // One is enough: the others were stored by those who had compared them.
        let Some(entry) = stored.iter().filter(meets).max_by_key(|entry| entry.last) else {
            continue;
        };
        match same(target, entry, state_dir, *name).await {
            Ok(true) => {}
            Ok(false) => return set_aside(target, state_dir, waiting.clone(), *name),
            Err(AgentError::Vault(error)) if error.kind() == ErrorKind::Retry => {
                return Err(error.into());
            }
            Err(error) => {
                tracing::warn!(%error, "a spooled segment cannot be compared with the vault");
            }
        }
    }
    Ok(waiting)
}

/// Whether both have the same rows at the revisions that both have.
async fn same(
    target: &Target,
    entry: &SegmentEntry,
    state_dir: &Path,
    name: Name,
) -> Result<bool, AgentError> {
    let range = (entry.first.max(name.first), entry.last.min(name.last));
    let (folder, place) = (state_dir.to_path_buf(), Place::of(target));
    let reading = tokio::task::spawn_blocking(move || {
        let segment = Folder::peek(&folder, &place, name)?;
        digests(&segment, range)
    });
    let ours = reading
        .await
        .map_err(|error| AgentError::Internal(format!("reading the spool: {error}")))??;
    let piece = Piece::Segment {
        entry: entry.clone(),
        from: range.0,
        to: range.1,
    };
    Ok(revisions(&target.timeline, vec![piece]).await? == ours)
}

fn digests(
    segment: &SealedSegment,
    (first, last): (Revision, Revision),
) -> Result<BTreeMap<Revision, RowDigest>, AgentError> {
    let reader = SegmentReader::open(segment.bytes.clone(), &segment.identity)?;
    let mut found: BTreeMap<Revision, RowDigest> = BTreeMap::new();
    for frame in &reader.index().frames {
        for row in EncodedRows::new(&reader.frame(frame)?) {
            let row = row?;
            if (first..=last).contains(&row.key.main) {
                let sum = found.entry(row.key.main).or_default();
                *sum = sum.combine(digest([row]));
            }
        }
    }
    Ok(found)
}

/// Sets aside what is not of the timeline, and gives what is left.
fn set_aside(
    target: &Target,
    state_dir: &Path,
    waiting: Vec<Name>,
    other: Name,
) -> Result<Vec<Name>, AgentError> {
    // What leads to it without a hole may have come from the same source.
    let mut from = other.first;
    for name in waiting.iter().rev() {
        if name.first < from && name.last.next() >= from {
            from = name.first;
        }
    }
    let (foreign, left): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|name| name.first >= from);
    tracing::error!(
        first = %from,
        segments = foreign.len(),
        "what waits in the spool is of another history than what is stored of this timeline: the source was set back while the \
         object store was away"
    );
    // Where the session before still has the folder, it is opened again once that has ended.
    let Some(folder) = Folder::open(state_dir, Place::of(target))? else {
        return Ok(left);
    };
    let reason = AgentError::Lineage(format!(
        "it is of another history than timeline {}",
        target.timeline.id()
    ));
    for name in foreign {
        folder.reject(name.first, name.last, name.uid, &reason);
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
