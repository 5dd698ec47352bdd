//! Whether the source is what the timeline was captured from. A simple check: the cluster's id is the same, and its
//! revision has not gone back.

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_vault::{Cluster, SourceIdentity};

use crate::AgentError;
use crate::source::{Connection, Identity, Member};
use crate::target::Target;

/// Connects to the first endpoint that answers and is in touch with its cluster: a member that is cut off answers too,
/// and gives a snapshot that lags behind by any number of revisions.
pub(crate) async fn connect_first(
    connection: &Connection,
) -> Result<(Member, Identity), AgentError> {
    let mut last = AgentError::Config("--endpoints: name at least one".to_owned());
    for endpoint in &connection.endpoints {
        match connect_caught_up(connection, endpoint).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                tracing::warn!(%error, "endpoint does not answer");
                last = error;
            }
        }
    }
    Err(last)
}

async fn connect_caught_up(
    connection: &Connection,
    endpoint: &str,
) -> Result<(Member, Identity), AgentError> {
    let connected = Member::connect(connection, endpoint).await?;
    // The member answers this only once it has applied all that its cluster has committed.
    connected.0.current_revision().await?;
    Ok(connected)
}

/// As [`connect_first`], and makes sure that it belongs to the timeline's cluster.
pub(crate) async fn connect_any(
    connection: &Connection,
    target: &Target,
) -> Result<(Member, Identity), AgentError> {
    let (member, identity) = connect_first(connection).await?;
    same_cluster(target, &identity)?;
    Ok((member, identity))
}

/// The timeline that the source continues; the first one is made here.
pub(crate) async fn timeline_for(
    cluster: Cluster,
    identity: &Identity,
) -> Result<Target, AgentError> {
    let timeline = if let Some(timeline) = cluster.newest_timeline().await? {
        timeline
    } else {
        let source = SourceIdentity {
            cluster_id: identity.cluster_id,
            member_ids: vec![identity.member_id],
            etcd_version: identity.version.clone(),
            first_seen_unix_ms: Utc::now().timestamp_millis(),
        };
        cluster.create_timeline(source, None).await?
    };
    let target = Target { cluster, timeline };
    same_cluster(&target, identity)?;
    Ok(target)
}

/// # Errors
/// [`AgentError::Lineage`] when the member belongs to another cluster.
pub(crate) fn same_cluster(target: &Target, identity: &Identity) -> Result<(), AgentError> {
    let known = target.timeline.record().source.cluster_id;
    if known == identity.cluster_id {
        return Ok(());
    }
    Err(AgentError::Lineage(format!(
        "timeline {} of {} was captured from cluster {known:x}, and the endpoint belongs to cluster {:x}: check \
         --endpoints, or give another --cluster name",
        target.timeline.id(),
        target.cluster.name(),
        identity.cluster_id
    )))
}

/// # Errors
/// [`AgentError::Lineage`] when the source stands below what was captured from it already.
pub(crate) fn not_behind(
    target: &Target,
    cursor: Revision,
    current: Revision,
) -> Result<(), AgentError> {
    if current >= cursor {
        return Ok(());
    }
    Err(AgentError::Lineage(format!(
        "timeline {} of {} is captured up to revision {cursor}, and the source stands at {current}: it was restored \
         from a backup, or is another cluster; give it another --cluster name",
        target.timeline.id(),
        target.cluster.name(),
    )))
}
