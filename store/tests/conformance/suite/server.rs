//! The servers that the suite is run against.

use anyhow::Result;
use revkeep_harness::{Etcd, EtcdCluster, EtcdOptions, EtcdVersion, etcd_versions, store};

use super::Group;

/// The servers to ask: the oldest and the newest etcd 3.5, and the store.
pub(crate) fn servers() -> Result<Vec<EtcdVersion>> {
    let mut etcds: Vec<_> = etcd_versions()
        .into_iter()
        .filter(|version| version.series() == (3, 5))
        .collect();
    // The oldest is the one that is installed everywhere.
    etcds.drain(1..etcds.len().saturating_sub(1).max(1));
    etcds.extend(store()?);
    Ok(etcds)
}

/// One running server: a member alone or a cluster.
#[derive(Debug)]
pub(crate) struct Server {
    /// Which release it is.
    pub(crate) version: EtcdVersion,
    /// Its members.
    pub(crate) members: Vec<Etcd>,
}

impl Server {
    /// Starts what a group asks for.
    pub(crate) async fn start(version: &EtcdVersion, group: &Group) -> Result<Self> {
        let members = if group.members == 1 {
            let options = EtcdOptions {
                flags: group.flags.clone(),
                ..EtcdOptions::default()
            };
            vec![Etcd::start_with(version, options).await?]
        } else {
            let cluster = EtcdCluster::start_with(version, group.members, &group.flags).await?;
            cluster.members
        };
        Ok(Self {
            version: version.clone(),
            members,
        })
    }
}
