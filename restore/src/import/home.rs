//! Where a file belongs.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::{SourceIdentity, TimelineRecord, Witness};
use revkeep_vault::{Cluster, Timeline};
use tokio::sync::watch;

use super::{SnapshotFile, has_the_same_rows};
use crate::error::{Kind, RestoreError};
use crate::source::{Source, timeline_id};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// A new cluster, or a timeline of it that is proved to have the same content.
    Proved,
    /// This timeline, if it is proved.
    Timeline(String),
    /// A new timeline, where none is proved.
    New,
}

/// Where a file goes.
#[derive(Debug)]
pub enum Home {
    /// It is there already: the same rows at the same revision.
    AlreadyThere(Timeline),
    /// A timeline which is proved to have the same content.
    In(Source),
    /// A timeline without any content yet, which was made for this file, now or by an import that did not come to its end.
    Empty(Timeline),
}

/// Finds where a file belongs, and makes a timeline for it where that is asked for or the cluster is new.
///
/// # Errors
/// [`Kind::Refused`] for a cluster that is there already, none of whose timelines is proved to have the file's content, unless
/// a new timeline is asked for; [`Kind::Verification`] where a timeline that is named has other content or does not reach the
/// revision.
pub async fn home(
    cluster: &Cluster,
    file: &SnapshotFile,
    place: &Where,
    cancelled: &watch::Receiver<bool>,
) -> Result<Home, RestoreError> {
    let ours = record(file);
    if let Where::Timeline(id) = place {
        let timeline = cluster.timeline(timeline_id(id)?).await?;
        let source = Source::open(cluster, Some(id)).await?;
        if holds(&source, file) {
            return Ok(Home::AlreadyThere(timeline));
        }
        if has_the_same_rows(&source, file, cancelled).await? {
            return Ok(Home::In(source));
        }
        return Err(RestoreError::new(
            Kind::Verification,
            format!(
                "timeline {id} does not have the content of {} at revision {}, or does not reach it; nothing was imported. Try: \
                 --new-timeline, or --cluster with another name",
                file.path.display(),
                file.position.revision
            ),
        ));
    }
    let timelines = cluster.timelines().await?;
    let mut sources = Vec::new();
    for timeline in timelines {
        let inventory = timeline.inventory().await?;
        let source = Source::of(timeline.clone(), inventory);
        // Also one that an import made that was interrupted: it holds nothing yet.
        if holds(&source, file) {
            return Ok(Home::AlreadyThere(timeline));
        }
        if is_ours(&source, &ours) {
            return Ok(Home::Empty(timeline));
        }
        sources.push(source);
    }
    for source in sources.iter().rev() {
        match has_the_same_rows(source, file, cancelled).await {
            Ok(true) => return Ok(Home::In(source.clone())),
            Ok(false) => {}
            // It may have the content, and cannot prove it; another may.
            Err(error) if error.kind() == Kind::Verification => {
                tracing::warn!(timeline = %source.timeline.id(), %error, "this timeline proves nothing");
            }
            Err(error) => return Err(error),
        }
    }
    if !sources.is_empty() && *place != Where::New {
        return Err(RestoreError::new(
            Kind::Refused,
            format!(
                "cluster {} is there already, and none of its timelines is proved to have the content of {} at revision {}. A new \
                 timeline would be the newest, which restores take unless they name another. Try: --cluster with another name, or \
                 --new-timeline",
                cluster.name(),
                file.path.display(),
                file.position.revision
            ),
        ));
    }
    let examined = sources.last().map(|source| source.timeline.id());
    Ok(Home::Empty(cluster.open_timeline(ours, examined).await?))
}

/// Whether a base of the very same rows is there.
fn holds(source: &Source, file: &SnapshotFile) -> bool {
    source.inventory.bases.iter().any(|base| {
        base.revision == file.position.revision
            && base.compact_revision == file.position.compact_revision
            && base.manifest.rows == file.rows
            && base.manifest.digest == file.digest
    })
}

/// A timeline of a file: its source has no cluster id, which files do not tell.
fn record(file: &SnapshotFile) -> TimelineRecord {
    TimelineRecord {
        source: SourceIdentity {
            cluster_id: 0,
            member_ids: Vec::new(),
            etcd_version: file.etcd_version.clone(),
            first_seen_unix_ms: file.taken_unix_ms,
            witness: Some(Witness {
                revision: file.position.revision,
                digest: witnessed(file),
                raft_term: file.meta(b"term"),
                raft_index: file.meta(b"consistent_index"),
                raft_surplus: None,
            }),
        },
        parent: None,
        fork_at_most: false,
    }
}

/// The rows of its last revision alone, where compaction may not have removed any; else that of none.
fn witnessed(file: &SnapshotFile) -> revkeep_schemas::digest::RowDigest {
    let at = file.position;
    if at.revision > at.compact_revision && at.revision > Revision::INITIAL {
        return file.last;
    }
    revkeep_schemas::digest::RowDigest::default()
}

/// Whether a timeline was made for a file as this one, and nothing has come into it. Members that differ may have the same last
/// revision: what holds anything has to prove that it is the same.
fn is_ours(there: &Source, ours: &TimelineRecord) -> bool {
    let record = &there.timeline.record().source;
    let content = &there.inventory;
    record.cluster_id == 0
        && record.witness == ours.source.witness
        && content.bases.is_empty()
        && content.segments.is_empty()
        && content.damaged.is_empty()
}
