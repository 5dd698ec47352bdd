//! The timeline that a source continues, or a new one.

use std::path::Path;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::manifest::BaseManifest;
use revkeep_vault::{Cluster, SegmentEntry, SourceIdentity, Timeline, TimelineRecord, Witness};

use super::agree::of_timeline;
use super::fork::parent;
use super::snapshot::{End, end};
use super::{Extent, Known, RaftMark, Verdict, connect_caught_up, judge, settle};
use crate::AgentError;
use crate::base::{Taken, take};
use crate::source::{Connection, Identity, Member, TransactionAt};
use crate::spool::{Folder, Name, Place};
use crate::target::Target;

/// What was found, or made.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) target: Target,
    /// What the vault holds of it.
    pub(crate) standing: Standing,
    /// The evidence.
    pub(crate) known: Known,
    /// A snapshot that had to be taken to decide.
    pub(crate) taken: Option<Taken>,
}

/// What the vault holds of a timeline.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The newest base.
    pub(crate) base: Option<BaseManifest>,
    /// How far it reaches without a hole.
    pub(crate) cursor: Option<Revision>,
    /// The segments beyond that.
    pub(crate) beyond: Vec<SegmentEntry>,
    /// Revisions beyond that are recorded not to be what the source had: only a base brings them back.
    pub(crate) distrusted: bool,
}

/// Looks for a timeline that any of the endpoints continues. A new one is opened when none does that can be reached, and for
/// the first of them.
///
/// # Errors
/// [`AgentError::Diverged`] when it cannot be told; when the vault or the source does not answer.
pub(crate) async fn find(
    cluster: &Cluster,
    connection: &Connection,
    spool: &Path,
) -> Result<(Found, Member), AgentError> {
    let timelines = cluster.timelines().await?;
    let mut new = None;
    let mut failed = None;
    for endpoint in &connection.endpoints {
        let asking = async {
            let (member, _) = connect_caught_up(connection, endpoint).await?;
            let mut taken = None;
            let source = (connection, &member);
            let looking = existing(cluster, &timelines, source, (spool, &mut taken));
            let found = Box::pin(looking).await?;
            Ok::<_, AgentError>((found, taken, member))
        };
        match Box::pin(asking).await {
            Ok((Some(mut found), taken, member)) => {
                found.taken = taken;
                return Ok((found, member));
            }
            // A vault without a timeline: there is nothing that another endpoint could continue.
            Ok((None, taken, member)) if timelines.is_empty() => {
                let source = (connection, &member);
                let opening = open_new(cluster, &timelines, source, (spool, taken));
                let found = Box::pin(opening).await?;
                return Ok((found, member));
            }
            Ok((None, taken, member)) => new = new.or(Some((taken, member))),
            Err(error @ AgentError::Vault(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "endpoint cannot be used");
                failed = match failed {
                    Some(AgentError::Diverged(reason)) => Some(AgentError::Diverged(reason)),
                    _ => Some(error),
                };
            }
        }
    }
    match (new, failed) {
        (_, Some(error @ AgentError::Diverged(_))) | (None, Some(error)) => Err(error),
        (Some((taken, member)), _) => {
            let source = (connection, &member);
            let opening = open_new(cluster, &timelines, source, (spool, taken));
            let found = Box::pin(opening).await?;
            Ok((found, member))
        }
        (None, None) => Err(AgentError::Config(
            "--endpoints: name at least one".to_owned(),
        )),
    }
}

/// Looks through the timelines, the newest first.
async fn existing(
    cluster: &Cluster,
    timelines: &[Timeline],
    (connection, member): (&Connection, &Member),
    (spool, taken): (&Path, &mut Option<Taken>),
) -> Result<Option<Found>, AgentError> {
    for timeline in timelines.iter().rev() {
        let target = target(cluster, timeline);
        let (standing, mut known) = standing(&target, spool).await?;
        let source = (connection, member);
        let looking = continues(timeline, &known, source, (spool, &mut *taken));
        match Box::pin(looking).await {
            Ok(mark) => {
                known.raft = known.raft.later(mark);
                return Ok(Some(Found {
                    target,
                    standing,
                    known,
                    taken: None,
                }));
            }
            Err(AgentError::Lineage(reason)) => {
                tracing::warn!(timeline = %timeline.id(), reason, "the source does not continue this timeline");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// What the vault and the spool hold of a timeline, and the evidence in it.
async fn standing(target: &Target, spool: &Path) -> Result<(Standing, Known), AgentError> {
    // First what waits: what is stored meanwhile is seen twice, and not overlooked.
    let waiting = waiting(target, spool).await;
    let timeline = &target.timeline;
    let newest = timeline.newest().await?;
    let mut known = Known::read(timeline, newest.as_ref()).await?;
    let waiting = if waiting.is_empty() {
        waiting
    } else {
        // Also what a base has made needless: the source may have been set back below it.
        let trusted = timeline.trusted().await?;
        of_timeline(target, &trusted, spool, waiting).await?
    };
    let standing = match newest {
        Some(newest) => Standing {
            base: Some(newest.base),
            cursor: Some(newest.cursor),
            beyond: newest.beyond,
            distrusted: !newest.distrusted.is_empty(),
        },
        // Of an agent that ended before its first base was stored.
        None => Standing {
            beyond: timeline.segments().await?,
            ..Standing::default()
        },
    };
    let extent = Extent::of(standing.cursor, &standing.beyond, &waiting);
    known.reaching(target, spool, &extent).await?;
    Ok((standing, known))
}

/// The names of what waits on the disk.
async fn waiting(target: &Target, state_dir: &Path) -> Vec<Name> {
    let (state_dir, place) = (state_dir.to_path_buf(), Place::of(target));
    let reading = tokio::task::spawn_blocking(move || Folder::names(&state_dir, &place));
    reading.await.unwrap_or_default()
}

fn target(cluster: &Cluster, timeline: &Timeline) -> Target {
    Target {
        cluster: cluster.clone(),
        timeline: timeline.clone(),
    }
}

/// Where the source's Raft log stands, if it continues the timeline.
async fn continues(
    timeline: &Timeline,
    known: &Known,
    (connection, member): (&Connection, &Member),
    (spool, taken): (&Path, &mut Option<Taken>),
) -> Result<RaftMark, AgentError> {
    let (verdict, mark, _) = settle(connection, member, known).await?;
    match verdict {
        Verdict::Continues => Ok(mark),
        Verdict::Other(reason) => Err(AgentError::Lineage(reason)),
        Verdict::Unknown => {
            let snapshot = match taken.take() {
                Some(snapshot) => snapshot,
                None => take(member, spool).await?,
            };
            let snapshot = taken.insert(snapshot);
            judge(snapshot, known, Some(timeline), (connection, member)).await?;
            Ok(mark)
        }
    }
}

/// One moment of the source: its newest revision, from the snapshot or read back.
async fn witness(
    member: &Member,
    taken: Option<&Taken>,
) -> Result<(Witness, Identity), AgentError> {
    // The index before the revision: so it is ahead of what the revision was then by at least what is noted.
    let identity = member.identity().await?;
    let (revision, end) = match taken {
        Some(taken) => (taken.position.revision, end(taken).await?),
        None => newest(member, identity.raft_index).await?,
    };
    let witness = Witness {
        // Without its rows it tells nothing.
        revision: end.last.map_or(Revision::ZERO, |_| revision),
        digest: end.last.unwrap_or(RowDigest(0)),
        raft_term: identity.raft_term,
        raft_index: identity.raft_index,
        raft_surplus: end.surplus,
    };
    Ok((witness, identity))
}

/// The newest revision, its digest and the surplus, as in the end of a snapshot; the Raft index was read before. Of a source whose
/// snapshots tell no surplus it is never used.
async fn newest(member: &Member, raft_index: u64) -> Result<(Revision, End), AgentError> {
    let revision = member.current_revision().await?;
    let last = if revision > Revision::INITIAL {
        match member.transaction_at(revision).await? {
            TransactionAt::Rows(digest) => Some(digest),
            TransactionAt::Compacted | TransactionAt::Later => None,
        }
    } else {
        None
    };
    let index = i64::try_from(raft_index).ok().filter(|index| *index > 0);
    let end = End {
        last,
        surplus: index.map(|index| index - revision.0),
        ..End::default()
    };
    Ok((revision, end))
}

async fn open_new(
    cluster: &Cluster,
    timelines: &[Timeline],
    (connection, member): (&Connection, &Member),
    (spool, mut taken): (&Path, Option<Taken>),
) -> Result<Found, AgentError> {
    let mut forked = None;
    if !timelines.is_empty() {
        let snapshot = match taken.take() {
            Some(snapshot) => snapshot,
            None => take(member, spool).await?,
        };
        forked = parent(timelines, taken.insert(snapshot)).await?;
    }
    let (witness, identity) = witness(member, taken.as_ref()).await?;
    let record = TimelineRecord {
        source: SourceIdentity {
            cluster_id: identity.cluster_id,
            member_ids: vec![identity.member_id],
            etcd_version: identity.version.clone(),
            first_seen_unix_ms: Utc::now().timestamp_millis(),
            witness: Some(witness),
        },
        parent: forked.map(|fork| (fork.parent, fork.revision)),
        fork_at_most: forked.is_some_and(|fork| fork.at_most),
    };
    let mut examined = timelines.last().map(Timeline::id);
    loop {
        let timeline = cluster.open_timeline(record.clone(), examined).await?;
        let target = target(cluster, &timeline);
        let (standing, known) = standing(&target, spool).await?;
        let ours = *timeline.record() == record;
        let outcome = if ours && standing.cursor.is_none() {
            Ok(RaftMark::default())
        } else {
            // Another agent was first: it may have seen another source.
            let source = (connection, member);
            Box::pin(continues(&timeline, &known, source, (spool, &mut taken))).await
        };
        match outcome {
            Ok(mark) => {
                if let Some(fork) = forked {
                    tracing::warn!(
                        timeline = %timeline.id(), parent = %fork.parent, fork_revision = %fork.revision, at_most = fork.at_most,
                        "the source is another history than what was captured: a new timeline begins"
                    );
                }
                let mut known = known;
                known.raft = known.raft.later(mark);
                return Ok(Found {
                    target,
                    standing,
                    known,
                    taken,
                });
            }
            Err(AgentError::Lineage(_)) => examined = Some(timeline.id()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{spool_segment, spooled, store_base, store_segment};

    /// Another agent has stored what the source had before it was set back to 25, and a base.
    #[tokio::test]
    async fn what_waits_is_compared_with_what_is_stored_below_the_newest_base() {
        let (target, state) = (crate::testing::target().await, tempfile::tempdir().unwrap());
        store_base(&target, 10, 1).await;
        store_segment(&target, 11, 20).await;
        store_segment(&target, 21, 40).await;
        store_base(&target, 40, 1).await;
        spool_segment(state.path(), &target, (12, 15), 25);
        spool_segment(state.path(), &target, (24, 30), 25);
        spool_segment(state.path(), &target, (31, 35), 25);
        let (standing, known) = standing(&target, state.path()).await.unwrap();
        assert_eq!(standing.cursor, Some(Revision(40)));
        assert!(!standing.distrusted);
        assert_eq!(known.trail.last(), Some(Revision(40)));
        assert_eq!(spooled(state.path(), &target), [(12, 15)]);
    }

    /// The agent was killed before the base was stored that takes its place.
    #[tokio::test]
    async fn capture_does_not_go_on_behind_what_was_captured_wrongly() {
        let (target, state) = (crate::testing::target().await, tempfile::tempdir().unwrap());
        store_base(&target, 10, 1).await;
        store_segment(&target, 11, 20).await;
        spool_segment(state.path(), &target, (21, 30), 1000);
        spool_segment(state.path(), &target, (31, 40), 1000);
        let wrong = target
            .timeline
            .put_distrust(Revision(24), Revision(26), "wrong");
        wrong.await.unwrap();
        let (found, known) = standing(&target, state.path()).await.unwrap();
        assert_eq!((found.cursor, found.distrusted), (Some(Revision(20)), true));
        assert_eq!(known.trail.last(), Some(Revision(20)));
        assert_eq!(spooled(state.path(), &target), [(31, 40)]);
        // The base that takes its place, by whichever agent.
        store_base(&target, 30, 1).await;
        let (found, known) = standing(&target, state.path()).await.unwrap();
        assert_eq!(
            (found.cursor, found.distrusted),
            (Some(Revision(30)), false)
        );
        assert_eq!(known.trail.last(), Some(Revision(40)));
    }
}
