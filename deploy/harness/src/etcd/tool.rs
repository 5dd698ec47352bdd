//! etcd's own command lines, as the independent judge of what Revkeep wrote.

use super::version::EtcdVersion;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::Path;
use tokio::process::Command;

/// `etcdctl` and `etcdutl` of one release.
#[derive(Clone, Debug)]
pub struct EtcdTool {
    version: EtcdVersion,
    endpoints: String,
}

impl EtcdTool {
    /// The tools of a release, without a server.
    pub fn new(version: &EtcdVersion) -> Self {
        Self {
            version: version.clone(),
            endpoints: String::new(),
        }
    }

    /// Aims `etcdctl` at these endpoints.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: &[String]) -> Self {
        self.endpoints = endpoints.join(",");
        self
    }

    /// Runs `etcdctl ARGUMENTS` and returns its standard output; an error carries what it wrote to standard error.
    pub async fn ctl<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        self.run("etcdctl", arguments).await
    }

    /// Runs `etcdutl ARGUMENTS`. In 3.4 `etcdctl` still has these commands (`snapshot status`, `snapshot restore`,
    /// `defrag --data-dir`) and plays its part.
    pub async fn utl<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let program = if self.version.series() == (3, 4) {
            "etcdctl"
        } else {
            "etcdutl"
        };
        self.run(program, arguments).await
    }

    /// `snapshot save`: a snapshot with its trailer, taken over the wire.
    pub async fn snapshot_save(&self, file: &Path) -> Result<()> {
        let arguments = ["snapshot".as_ref(), "save".as_ref(), file.as_os_str()];
        self.ctl(arguments).await.map(drop)
    }

    /// `snapshot status -w json`: `hash`, `revision`, `totalKey`, `totalSize` (and `version` from 3.6 on).
    pub async fn snapshot_status(&self, file: &Path) -> Result<serde_json::Value> {
        let arguments = [
            "snapshot".as_ref(),
            "status".as_ref(),
            file.as_os_str(),
            "--write-out=json".as_ref(),
        ];
        Ok(serde_json::from_str(&self.utl(arguments).await?)?)
    }

    /// `snapshot restore` of `file` into the new directory `data_dir`, with further flags.
    pub async fn snapshot_restore(
        &self,
        file: &Path,
        data_dir: &Path,
        flags: &[&str],
    ) -> Result<()> {
        let mut arguments = vec!["snapshot".as_ref(), "restore".as_ref(), file.as_os_str()];
        arguments.extend(["--data-dir".as_ref(), data_dir.as_os_str()]);
        arguments.extend(flags.iter().map(AsRef::<OsStr>::as_ref));
        self.utl(arguments).await.map(drop)
    }

    async fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let mut command = Command::new(self.version.program(program));
        command
            .args(arguments)
            .env("ETCDCTL_API", "3")
            .kill_on_drop(true);
        if program == "etcdctl" && !self.endpoints.is_empty() {
            command.env("ETCDCTL_ENDPOINTS", &self.endpoints);
        }
        let output = command
            .output()
            .await
            .with_context(|| format!("cannot run {program} of etcd {}", self.version))?;
        ensure!(
            output.status.success(),
            "{program} of etcd {} failed ({}): {}{}",
            self.version,
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
