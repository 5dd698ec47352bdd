//! Opens a timeline for one revision, by as few requests as that takes.

use revkeep_schemas::Revision;
use revkeep_vault::Cluster;

use crate::error::{Kind, RestoreError};
use crate::plan::{History, Target, choose};
use crate::point::{self, Resolved, Wanted};
use crate::source::{Source, timeline_id};

/// Finds what is wanted, and reads of the bases only the manifest that this needs. Where that is not enough, because it is
/// damaged, or does not lead there, or bases have to be searched, all are read as for a restore.
///
/// # Errors
/// As [`point::resolve`].
pub async fn open(
    cluster: &Cluster,
    timeline: Option<&str>,
    wanted: &Wanted,
) -> Result<Resolved, RestoreError> {
    let by_few = match wanted {
        Wanted::Revision(_) | Wanted::Latest | Wanted::Time(_) => {
            lightly(cluster, timeline, wanted).await?
        }
        Wanted::BeforeDelete { .. } | Wanted::Pin(_) => None,
    };
    match by_few {
        Some(found) => Ok(found),
        None => point::resolve(cluster, timeline, wanted).await,
    }
}

async fn lightly(
    cluster: &Cluster,
    timeline: Option<&str>,
    wanted: &Wanted,
) -> Result<Option<Resolved>, RestoreError> {
    let id = match timeline {
        Some(id) => timeline_id(id)?,
        None => match cluster.timeline_ids().await?.last() {
            Some(newest) => *newest,
            None => return Ok(None),
        },
    };
    // Both take as long as the store takes to answer, so both are asked for at once.
    let (timeline, listing) = tokio::join!(cluster.timeline(id), cluster.listing(id));
    let listing = listing?;
    // One that has only begun is not what is meant where none is named.
    if listing.bases().next().is_none() {
        return Ok(None);
    }
    let timeline = timeline?;
    let revision = if let Wanted::Revision(revision) = wanted {
        *revision
    } else {
        let newest = timeline.inventory_at(&listing, Revision::MAX).await?;
        let source = Source::of(timeline.clone(), newest);
        if !source.inventory.damaged.is_empty() {
            return Ok(None);
        }
        match point::within(&source, wanted).await {
            Ok(target) => match source.resolve(target) {
                Target::Revision(revision) => revision,
                Target::Latest => return Ok(None),
            },
            Err(error) if error.kind() == Kind::OutsideCoverage => return Ok(None),
            Err(error) => return Err(error),
        }
    };
    let inventory = timeline.inventory_at(&listing, revision).await?;
    let source = Source::of(timeline, inventory);
    let target = Target::Revision(revision);
    let enough = source.inventory.damaged.is_empty()
        && choose(&source.holdings(), target, History::AsSource).is_ok();
    Ok(enough.then_some(Resolved { source, target }))
}
