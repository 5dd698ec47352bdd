//! Restored revisions, booted.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::capture::Captured;
use crate::product::{CLUSTER, run};
use crate::truth::Truth;
use crate::{Etcd, EtcdCluster, EtcdOptions, EtcdVersion, free_port};

impl Captured {
    /// `revkeep restore` of one revision with further flags; its report.
    ///
    /// # Errors
    /// When it fails.
    pub async fn restore(&self, revision: i64, flags: &[&str]) -> Result<serde_json::Value> {
        let revision = revision.to_string();
        let arguments = ["restore", CLUSTER, "-w", "json", "--to-revision", &revision];
        run("revkeep", &self.vault, &[&arguments[..], flags].concat())
            .await?
            .json()
    }

    /// A new path for what is restored.
    pub(super) fn place(&self, what: &str, revision: i64, target: &EtcdVersion) -> PathBuf {
        self.folder
            .path()
            .join(format!("{what}-{revision}-{target}"))
    }

    /// One revision as one member of the target.
    pub(super) async fn boot(
        &self,
        revision: i64,
        target: &EtcdVersion,
    ) -> Result<(PathBuf, Etcd)> {
        let data_dir = self.place("restored", revision, target);
        self.restore(revision, &[target.restore_flag(), text(&data_dir)])
            .await?;
        let member = Etcd::start_with(target, EtcdOptions::booting(&data_dir)).await?;
        Ok((data_dir, member))
    }

    /// One revision as three members of the target, each restored on its own.
    pub(super) async fn boot_three(
        &self,
        truth: &Truth,
        target: &EtcdVersion,
    ) -> Result<EtcdCluster> {
        let ports = (0..3)
            .map(|_| Ok((free_port()?, free_port()?)))
            .collect::<Result<Vec<_>>>()?;
        let peer = |port: u16| format!("http://127.0.0.1:{port}");
        let pairs: Vec<_> = (0..)
            .zip(&ports)
            .map(|(n, (_, port)): (usize, _)| format!("m{n}={}", peer(*port)))
            .collect();
        let cluster = pairs.join(",");
        let mut members = Vec::new();
        for (n, ports) in (0..).zip(ports) {
            let name = format!("m{n}");
            let data_dir = self.place(&format!("three-{name}"), truth.revision, target);
            let flags = [
                target.restore_flag(),
                text(&data_dir),
                "--name",
                &name,
                "--initial-cluster",
                &cluster,
                "--initial-advertise-peer-urls",
                &peer(ports.1),
            ];
            self.restore(truth.revision, &flags).await?;
            members.push(EtcdOptions {
                name,
                ports: Some(ports),
                initial_cluster: Some(cluster.clone()),
                ..EtcdOptions::booting(data_dir)
            });
        }
        EtcdCluster::boot(target, members).await
    }
}

/// For command lines; temporary folders have no other bytes.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
