//! What an earlier process spooled for an earlier timeline of the same cluster: it belongs there, and goes up there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use revkeep_schemas::names::TimelineId;
use tokio_util::sync::CancellationToken;

use crate::AgentError;
use crate::backoff::Backoff;
use crate::spool::{Folder, Place};
use crate::target::Target;

/// The longest wait between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(60);
/// How long an attempt may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Uploads what waits in the state directory for other timelines of this cluster than the one that is captured, until all of
/// it is stored or `done`. A file that is uploaded twice is the same object.
pub(crate) async fn leftovers(state_dir: PathBuf, target: Target, done: CancellationToken) {
    let mut backoff = Backoff::new(RETRY_LIMIT);
    let all = async {
        loop {
            match upload(&state_dir, &target).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "segments of an earlier timeline were not stored, trying again");
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        }
    };
    tokio::select! {
        () = done.cancelled() => {}
        () = all => {}
    }
}

async fn upload(state_dir: &Path, target: &Target) -> Result<(), AgentError> {
    let own = Place::of(target);
    for timeline in Folder::timelines(state_dir, &own)? {
        if timeline != own.timeline {
            upload_timeline(state_dir, target, timeline).await?;
        }
    }
    Ok(())
}

async fn upload_timeline(
    state_dir: &Path,
    target: &Target,
    id: TimelineId,
) -> Result<(), AgentError> {
    let place = Place {
        timeline: id,
        ..Place::of(target)
    };
    let Some(folder) = Folder::open(state_dir, place)? else {
        return Err(AgentError::Internal(format!(
            "the session that captured timeline {id} stores what it spooled"
        )));
    };
    let found = folder.scan()?;
    if found.is_empty() {
        return Ok(());
    }
    let timeline = target.cluster.timeline(id).await?;
    for file in &found {
        let segment = match folder.read(file.first, file.last, file.uid) {
            Ok(segment) => segment,
            Err(error) => return Err(error),
        };
        timeline.put_segment_within(&segment, DEADLINE).await?;
        folder.remove(file.first, file.last, file.uid);
    }
    tracing::info!(timeline = %id, segments = found.len(), "what was spooled for an earlier timeline is stored");
    Ok(())
}
