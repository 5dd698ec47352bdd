//! A cluster of members.

use super::options::EtcdOptions;
use super::server::Etcd;
use super::version::EtcdVersion;
use crate::port::free_port;
use anyhow::Result;
use etcd_client::Client;

/// A running cluster of etcd members on 127.0.0.1, named `m0`, `m1`, …
#[derive(Debug)]
pub struct EtcdCluster {
    /// The members, in the order of their names.
    pub members: Vec<Etcd>,
}

impl Etcd {
    /// Starts a new cluster of `size` members and waits until each is healthy.
    pub async fn start_cluster(version: &EtcdVersion, size: usize) -> Result<EtcdCluster> {
        EtcdCluster::start_with(version, size, &[]).await
    }
}

impl EtcdCluster {
    /// As [`Etcd::start_cluster`], with further flags for every member.
    pub async fn start_with(version: &EtcdVersion, size: usize, flags: &[String]) -> Result<Self> {
        let ports = (0..size)
            .map(|_| Ok((free_port()?, free_port()?)))
            .collect::<Result<Vec<_>>>()?;
        let initial_cluster = (0..)
            .zip(&ports)
            .map(|(number, (_, peer))| format!("m{number}=http://127.0.0.1:{peer}"))
            .collect::<Vec<String>>()
            .join(",");
        let options = (0..)
            .zip(ports)
            .map(|(number, ports): (usize, _)| EtcdOptions {
                name: format!("m{number}"),
                data_dir: None,
                initial_cluster: Some(initial_cluster.clone()),
                ports: Some(ports),
                tls: None,
                flags: flags.to_vec(),
            });
        Self::boot(version, options).await
    }

    /// Starts members from full options, each on its own (restored) data directory say, and waits until each is healthy.
    pub async fn boot(
        version: &EtcdVersion,
        options: impl IntoIterator<Item = EtcdOptions>,
    ) -> Result<Self> {
        let mut cluster = Self::launch(version, options)?;
        for member in &mut cluster.members {
            member.healthy().await?;
        }
        Ok(cluster)
    }

    /// The same without waiting: a learner is never healthy.
    pub fn launch(
        version: &EtcdVersion,
        options: impl IntoIterator<Item = EtcdOptions>,
    ) -> Result<Self> {
        let members = options.into_iter().map(|one| Etcd::spawn(version, one));
        Ok(Self {
            members: members.collect::<Result<_>>()?,
        })
    }

    /// The client URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Etcd::endpoint).collect()
    }

    /// A new client connection that knows all members.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(self.endpoints(), None).await?)
    }
}
