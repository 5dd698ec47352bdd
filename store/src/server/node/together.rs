//! Many members in one process.

use std::path::Path;

use super::Node;
use super::environment::Environment;
use super::start::Ports;
use crate::error::Result;
use crate::server::{Config, InitialCluster};

/// Starts a new cluster of `size` members, `m0`, `m1`, …, in this process: each with a folder of its own below `folder`, on
/// free ports of 127.0.0.1. `adjust` may change the settings of each before it starts. Waits until all serve clients.
///
/// # Errors
/// As [`Node::start`].
pub async fn start_together(
    folder: &Path,
    size: usize,
    adjust: impl Fn(&mut Config),
) -> Result<Vec<Node>> {
    let mut waiting = Vec::with_capacity(size);
    for number in 0..size {
        let name = format!("m{number}");
        let mut config = Config::alone(&name, folder.join(&name));
        adjust(&mut config);
        let ports = Ports::bind(&mut config, None).await?;
        waiting.push((config, ports));
    }
    let members = waiting.iter().map(|(config, _)| {
        (
            config.name.clone(),
            config.initial_advertise_peer_urls.clone(),
        )
    });
    let cluster: InitialCluster = members.collect();
    let starts = waiting.into_iter().map(|(mut config, ports)| {
        config.initial_cluster = cluster.clone();
        Box::pin(Node::start_on(ports, config, Environment::default()))
    });
    let nodes = futures::future::try_join_all(starts).await?;
    for node in &nodes {
        node.ready().await?;
    }
    Ok(nodes)
}
