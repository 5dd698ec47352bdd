//! Connects to a member that is in touch with its cluster.

use super::{Known, Verdict, settle};
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

/// Connects to a member that is in touch with its cluster.
pub(crate) async fn connect_caught_up(
    connection: &Connection,
    endpoint: &str,
) -> Result<(Member, Identity), AgentError> {
    let connected = Member::connect(connection, endpoint).await?;
    // The member answers this only once it has applied all that its cluster has committed.
    connected.0.current_revision().await?;
    Ok(connected)
}

/// As [`connect_first`], and makes sure that it continues what is known, as far as that can be read back.
pub(crate) async fn connect_any(
    connection: &Connection,
    known: &Known,
) -> Result<Member, AgentError> {
    let mut last = AgentError::Config("--endpoints: name at least one".to_owned());
    for endpoint in &connection.endpoints {
        let asking = async {
            let (member, _) = Member::connect(connection, endpoint).await?;
            match settle(connection, &member, known).await?.0 {
                Verdict::Other(reason) => Err(AgentError::Lineage(reason)),
                Verdict::Continues | Verdict::Unknown => Ok(member),
            }
        };
        match asking.await {
            Ok(member) => return Ok(member),
            Err(error) => {
                tracing::warn!(%error, endpoint, "this endpoint is not used");
                last = error;
            }
        }
    }
    Err(last)
}

/// Whether the ids alone tell that the source is another cluster than the timeline's: for a check before the start.
///
/// # Errors
/// [`AgentError::Lineage`] when they do.
pub(crate) fn same_cluster(target: &Target, identity: &Identity) -> Result<(), AgentError> {
    let known = target.timeline.record().source.cluster_id;
    if known == identity.cluster_id {
        return Ok(());
    }
    Err(AgentError::Lineage(format!(
        "timeline {} of {} was captured from cluster {known:x}, and the endpoint belongs to cluster {:x}: a new timeline \
         would begin",
        target.timeline.id(),
        target.cluster.name(),
        identity.cluster_id
    )))
}
