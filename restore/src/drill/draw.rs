//! Which revision is drilled where any will do.

use rand::RngExt;
use revkeep_schemas::Revision;
use revkeep_vault::{Cluster, TimelineId};

use crate::error::{Kind, RestoreError};
use crate::plan::{Target, coverage};
use crate::point::Resolved;
use crate::source::{Source, promised};

/// A revision that is drilled.
pub(super) struct Drawn {
    pub(super) resolved: Resolved,
    /// What is damaged and could not be drawn.
    pub(super) damage: Vec<String>,
}

/// One of the revisions of the timeline that is named, or of all, each as likely as any other. The latest of the newest
/// timeline where none covers any.
pub(super) async fn draw(cluster: &Cluster, timeline: Option<&str>) -> Result<Drawn, RestoreError> {
    let mut damage = Vec::new();
    let drawn = match timeline {
        Some(_) => None,
        None => any_timeline(cluster, &mut damage).await?,
    };
    let drawn = drawn.map(|id| id.to_string());
    let source = Source::open(cluster, drawn.as_deref().or(timeline)).await?;
    // Of what it holds now: retention may have deleted some since it was drawn.
    let target = any_of(&coverage(&source.holdings())).map_or(Target::Latest, Target::Revision);
    Ok(Drawn {
        resolved: Resolved { source, target },
        damage,
    })
}

/// A timeline, as likely as it covers revisions; `None` where none covers any, or there is but one. One whose record is damaged
/// or gone is passed over and named: the others can be brought back all the same.
async fn any_timeline(
    cluster: &Cluster,
    damage: &mut Vec<String>,
) -> Result<Option<TimelineId>, RestoreError> {
    let ids = cluster.timeline_ids().await?;
    if ids.len() < 2 {
        return Ok(None);
    }
    // One is held in memory at a time: a manifest lists all chunks of its base.
    let mut covered = Vec::new();
    for id in ids {
        match revisions(cluster, id).await {
            Ok(revisions) => covered.push((id, revisions)),
            Err(error) if error.kind() == Kind::Verification => {
                damage.push(format!("timeline {id} was passed over; mend it: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(weighted(&covered).map(|(id, _)| id))
}

/// How many revisions of a timeline can be restored; none where its agent ended before there was more than a folder.
async fn revisions(cluster: &Cluster, id: TimelineId) -> Result<i64, RestoreError> {
    let Some(timeline) = cluster.born(id).await.map_err(promised)? else {
        return Ok(0);
    };
    let inventory = timeline.inventory().await?;
    let covered = coverage(&Source::of(timeline, inventory).holdings());
    Ok(covered.iter().map(count).sum())
}

fn count((first, last): &(Revision, Revision)) -> i64 {
    last.0 - first.0 + 1
}

/// One of the revisions in closed ranges, each as likely as any other.
fn any_of(ranges: &[(Revision, Revision)]) -> Option<Revision> {
    let ranges: Vec<_> = ranges.iter().map(|range| (range.0, count(range))).collect();
    weighted(&ranges).map(|(first, at)| Revision(first.0 + at))
}

/// One of several, each as likely as it has parts, and which of its parts.
fn weighted<T: Copy>(all: &[(T, i64)]) -> Option<(T, i64)> {
    let parts: i64 = all.iter().map(|(_, parts)| parts).sum();
    let mut at = (parts > 0).then(|| rand::rng().random_range(0..parts))?;
    for (one, parts) in all {
        if at < *parts {
            return Some((*one, at));
        }
        at -= parts;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_revision_is_one_of_the_covered() {
        let ranges = [(Revision(3), Revision(4)), (Revision(9), Revision(9))];
        let drawn: std::collections::BTreeSet<_> = (0..500)
            .filter_map(|_| any_of(&ranges))
            .map(|it| it.0)
            .collect();
        assert_eq!(drawn, [3, 4, 9].into());
        assert_eq!(any_of(&[]), None);
        assert_eq!(weighted(&[("nothing", 0)]), None);
    }
}
