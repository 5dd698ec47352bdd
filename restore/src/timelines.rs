//! Which timeline is meant where none is named, and what has to be said of the others.

use revkeep_schemas::Revision;
use revkeep_vault::{Cluster, Timeline, TimelineId};

use crate::error::RestoreError;
use crate::plan::coverage;
use crate::point::{Doubt, seen, time};
use crate::source::Source;

/// The newest timeline that has a base; where none has one, the newest. One without a base holds nothing that can be restored: its
/// agent has just begun, or an import was interrupted. Says whether there are others.
pub(crate) async fn default_timeline(
    cluster: &Cluster,
) -> Result<Option<(Timeline, bool)>, RestoreError> {
    let Some(newest) = cluster.newest_timeline().await? else {
        return Ok(None);
    };
    // Numbers begin with that of the first.
    let others = newest.id() != TimelineId::FIRST;
    if !others || has_base(&newest).await? {
        return Ok(Some((newest, others)));
    }
    for timeline in cluster.timelines().await?.into_iter().rev() {
        if timeline.id() < newest.id() && has_base(&timeline).await? {
            return Ok(Some((timeline, others)));
        }
    }
    Ok(Some((newest, others)))
}

async fn has_base(timeline: &Timeline) -> Result<bool, RestoreError> {
    Ok(timeline.listing().await?.bases().next().is_some())
}

/// What has to be said of a revision that was found: why it may not be what was meant, and which other timelines there are where
/// none was named.
pub(crate) async fn notes_on(source: &Source, doubt: Option<&Doubt>) -> Vec<String> {
    let mut notes: Vec<_> = doubt.iter().map(ToString::to_string).collect();
    if source.taken_among_others() {
        notes.extend(others(source.timeline.cluster(), source.timeline.id()).await);
    }
    notes
}

/// Names all timelines but the one that is taken. What cannot be read is told, and is no reason to fail.
async fn others(cluster: &Cluster, taken: TimelineId) -> Option<String> {
    let ids = cluster.timeline_ids().await.unwrap_or_default();
    let mut told = Vec::new();
    for id in ids.into_iter().filter(|id| *id != taken) {
        let newest = match newest_of(cluster, id).await {
            Ok(Some((newest, Some(seen)))) => format!("up to revision {newest}, seen ≈ {seen}"),
            Ok(Some((newest, None))) => format!("up to revision {newest}"),
            Ok(None) => "without a base".to_owned(),
            Err(error) => format!("which cannot be read: {error}"),
        };
        told.push(format!("{id} ({newest})"));
    }
    if told.is_empty() {
        return None;
    }
    Some(format!(
        "timeline {taken} is taken, since no other was named; there are also {}. Try: --timeline ID",
        told.join(", ")
    ))
}

/// The newest revision of a timeline that can be restored, and when it was seen.
async fn newest_of(
    cluster: &Cluster,
    id: TimelineId,
) -> Result<Option<(Revision, Option<String>)>, RestoreError> {
    let timeline = cluster.timeline(id).await?;
    let listing = timeline.listing().await?;
    let inventory = timeline.inventory_at(&listing, Revision::MAX).await?;
    let source = Source::of(timeline, inventory);
    let Some((_, newest)) = coverage(&source.holdings()).last().copied() else {
        return Ok(None);
    };
    let seen = seen(&source, newest).await?.from.and_then(time);
    Ok(Some((newest, seen)))
}
