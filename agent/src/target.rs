//! Where this agent writes.

use revkeep_vault::{Cluster, ClusterName, Timeline, Vault};

use crate::AgentError;

/// Stands in every object, for people.
pub(crate) const WRITER: &str = concat!("revkeep-agent ", env!("CARGO_PKG_VERSION"));

/// The cluster in the vault, and the timeline that the source continues. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    /// The cluster.
    pub cluster: Cluster,
    /// Its timeline.
    pub timeline: Timeline,
}

/// Opens the vault, making one at an empty address, and the cluster in it.
pub(crate) async fn open_cluster(url: &str, cluster: &str) -> Result<Cluster, AgentError> {
    let name = cluster_name(cluster)?;
    let vault = Vault::create(url).await?.with_writer(WRITER);
    Ok(vault.cluster(&name))
}

pub(crate) fn cluster_name(cluster: &str) -> Result<ClusterName, AgentError> {
    ClusterName::new(cluster).map_err(|error| AgentError::Config(format!("--cluster: {error}")))
}
