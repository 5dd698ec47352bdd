//! The servers that the suite is run against.

use anyhow::Result;
use revkeep_harness::{Etcd, EtcdCluster, EtcdOptions, EtcdVersion, etcd_versions, store};

use super::keys::KEYS;
use super::{Group, Keys};
use std::sync::Arc;

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
    /// Its keys, if it needs any.
    pub(crate) keys: Option<Arc<Keys>>,
    /// Whether clients need TLS.
    pub(crate) tls: bool,
}

impl Server {
    /// Starts what a group asks for.
    pub(crate) async fn start(version: &EtcdVersion, group: &Group) -> Result<Self> {
        let needed = group.tls || group.flags.iter().any(|flag| flag.contains(KEYS));
        let keys = needed.then(Keys::make).transpose()?.map(Arc::new);
        let fill = |flag: &String| match &keys {
            Some(keys) => keys.fill(flag),
            None => flag.clone(),
        };
        let flags: Vec<_> = group.flags.iter().map(fill).collect();
        let members = if group.members == 1 {
            let tls = keys.as_ref().filter(|_| group.tls);
            let options = EtcdOptions {
                flags,
                tls: tls.map(|keys| keys.certificates.clone()),
                ..EtcdOptions::default()
            };
            vec![Etcd::start_with(version, options).await?]
        } else {
            let cluster = EtcdCluster::start_with(version, group.members, &flags).await?;
            cluster.members
        };
        Ok(Self {
            version: version.clone(),
            members,
            keys,
            tls: group.tls,
        })
    }
}
