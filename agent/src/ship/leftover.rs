//! What an earlier process spooled for an earlier timeline of the same cluster: it belongs there, and goes up there.
//!
//! Unless it only seemed to: an agent that started without the store may have captured from a source that was set back below
//! what is stored, and the timeline that it remembered is then not the one that the source continues. So what waits is
//! compared with what is stored of its own timeline, as before capture goes on behind it ([`crate::lineage`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use revkeep_schemas::names::TimelineId;
use tokio_util::sync::CancellationToken;

use crate::AgentError;
use crate::backoff::Backoff;
use crate::lineage::of_timeline_in;
use crate::spool::{Folder, Found, Name, Place};
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
    let home = Target {
        cluster: target.cluster.clone(),
        timeline: target.cluster.timeline(id).await?,
    };
    let trusted = home.timeline.trusted().await?;
    let waiting: Vec<_> = found.iter().map(Found::name).collect();
    let waiting = of_timeline_in(&folder, &home, &trusted, (state_dir, waiting)).await?;
    for Name { first, last, uid } in &waiting {
        let segment = folder.read(*first, *last, *uid)?;
        home.timeline.put_segment_within(&segment, DEADLINE).await?;
        folder.remove(*first, *last, *uid);
    }
    if !waiting.is_empty() {
        tracing::info!(timeline = %id, segments = waiting.len(), "what was spooled for an earlier timeline is stored");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use object_store::memory::InMemory;
    use revkeep_harness::{Fault, FaultyStore, Request};
    use revkeep_schemas::Revision;
    use revkeep_vault::SourceIdentity;

    use super::*;
    use crate::testing::{spool_segment, spooled, store_segment, stored, target, target_on};

    /// The timeline that is captured now, beside one that was captured before.
    async fn beside(old: &Target) -> Target {
        let source = SourceIdentity {
            cluster_id: 8,
            ..SourceIdentity::default()
        };
        let timeline = old.cluster.create_timeline(source, None).await.unwrap();
        assert_ne!(timeline.id(), old.timeline.id());
        Target {
            cluster: old.cluster.clone(),
            timeline,
        }
    }

    /// The agent had started while the store was away, and the source had been set back to 35 by then.
    #[tokio::test]
    async fn what_another_history_wrote_does_not_go_up() {
        let (old, state) = (target().await, tempfile::tempdir().unwrap());
        store_segment(&old, 31, 40).await;
        spool_segment(state.path(), &old, (21, 28), 1000);
        spool_segment(state.path(), &old, (36, 50), 35);
        spool_segment(state.path(), &old, (51, 60), 35);
        let new = beside(&old).await;
        upload(state.path(), &new).await.unwrap();
        assert_eq!(stored(&old).await, [(21, 28), (31, 40)]);
        assert_eq!(stored(&new).await, []);
        assert_eq!(spooled(state.path(), &old), []);
    }

    #[tokio::test]
    async fn what_is_recorded_as_captured_wrongly_does_not_go_up() {
        let (old, state) = (target().await, tempfile::tempdir().unwrap());
        spool_segment(state.path(), &old, (21, 30), 1000);
        spool_segment(state.path(), &old, (31, 40), 1000);
        let wrong = old
            .timeline
            .put_distrust(Revision(24), Revision(26), "wrong");
        wrong.await.unwrap();
        upload(state.path(), &beside(&old).await).await.unwrap();
        assert_eq!(stored(&old).await, [(31, 40)]);
        assert_eq!(spooled(state.path(), &old), []);
    }

    #[tokio::test]
    async fn nothing_goes_up_before_it_can_be_compared() {
        let away = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&away);
        let judge = move |request, _: &object_store::path::Path| {
            let gone = request == Request::List && fails.load(Ordering::Relaxed);
            gone.then_some(Fault::Refused)
        };
        let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
        let old = target_on(Arc::new(store)).await;
        let state = tempfile::tempdir().unwrap();
        store_segment(&old, 31, 40).await;
        spool_segment(state.path(), &old, (36, 50), 1000);
        let new = beside(&old).await;
        away.store(true, Ordering::Relaxed);
        upload(state.path(), &new).await.unwrap_err();
        assert_eq!(spooled(state.path(), &old), [(36, 50)]);
        away.store(false, Ordering::Relaxed);
        assert_eq!(stored(&old).await, [(31, 40)]);
        upload(state.path(), &new).await.unwrap();
        assert_eq!(stored(&old).await, [(31, 40), (36, 50)]);
        assert_eq!(spooled(state.path(), &old), []);
    }
}
