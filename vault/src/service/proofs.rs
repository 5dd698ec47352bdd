//! Verifications and drills on a schedule.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::run::Runner;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::verify::{Ledger, VerifyOptions};

/// The program that restores, which this crate cannot: it stands above it.
const RESTORER: &str = "revkeep";

impl Runner {
    /// Reads what is due of every cluster, also of those that are gone. What is wrong with one does not keep the others from
    /// being read.
    pub(super) async fn verification(&self) -> Result<(), VaultError> {
        let (mut wrong, mut failed) = (0, None);
        let mut clusters = self.vault.clusters().await?;
        match Ledger::clusters(&self.options.proofs.ledger, &self.vault) {
            Ok(known) => clusters.extend(known),
            Err(error) => failed = Some(error),
        }
        clusters.sort_unstable();
        clusters.dedup();
        for name in clusters {
            let cluster = self.vault.cluster(&name);
            if let Err(error) = self.verify(&cluster, &mut wrong).await {
                tracing::warn!(cluster = name.as_str(), %error, "a cluster could not be verified");
                failed.get_or_insert(error);
            }
        }
        match failed {
            _ if wrong > 0 => Err(VaultError::new(
                ErrorKind::Corrupt,
                format!(
                    "{wrong} things are wrong in the vault: each is named in the log; `revkeep verify` names them again"
                ),
            )),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Verifies a cluster, and adds to `wrong` what is found, whatever fails after it.
    async fn verify(&self, cluster: &Cluster, wrong: &mut usize) -> Result<(), VaultError> {
        let proofs = &self.options.proofs;
        let options = VerifyOptions {
            period: proofs.period,
            ..VerifyOptions::default()
        };
        let begun = Instant::now();
        let mut ledger = Ledger::open(&proofs.ledger, &self.vault, cluster.name())?;
        let done = cluster.verify(&options, &mut ledger, &|_| {}).await;
        // What was read counts, however it ended.
        let saved = ledger.save();
        let found = done?;
        *wrong += found.findings.len();
        for finding in &found.findings {
            tracing::error!(
                cluster = found.cluster,
                object = finding.object,
                wrong = ?finding.wrong,
                reason = finding.reason,
                "found by a verification"
            );
        }
        tracing::info!(
            cluster = found.cluster,
            read = found.read_objects,
            bytes = found.read_bytes,
            wrong = found.findings.len(),
            "verified"
        );
        if found.is_anything_there() {
            let receipt = found.receipt(begun.elapsed(), None);
            let stored = cluster.put_receipt(&receipt).await;
            self.relist(cluster.name()).await;
            stored?;
        }
        saved
    }

    /// Has the restorer drill any revision of any cluster; it stores the receipt.
    pub(super) async fn drill(&self) -> Result<(), VaultError> {
        let clusters = self.vault.clusters().await?;
        if clusters.is_empty() {
            return Ok(());
        }
        let drawn = rand::rng().random_range(0..clusters.len());
        let Some(cluster) = clusters.get(drawn) else {
            return Ok(());
        };
        let proofs = &self.options.proofs;
        let program = restorer();
        let mut command = Command::new(&program);
        command
            .args([
                "drill",
                cluster.as_str(),
                "--random",
                "--vault",
                &proofs.url,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(etcd_bin) = &proofs.etcd_bin {
            command.arg("--etcd").arg("--etcd-bin").arg(etcd_bin);
        }
        let failed = |what: &str| {
            let what = format!("{what} {}", program.display());
            move |error: std::io::Error| VaultError::new(ErrorKind::Config, what).with_source(error)
        };
        let child = command.spawn().map_err(failed("cannot start"))?;
        // When the service ends, so does the drill, and tidies up.
        let mut running = Running(child.id());
        let said = child.wait_with_output().await;
        running.0 = None;
        let said = said.map_err(failed("cannot wait for"))?;
        // Whatever it came to, there may be a receipt.
        self.relist(cluster).await;
        if said.status.success() {
            tracing::info!(cluster = cluster.as_str(), "a drill went well");
            return Ok(());
        }
        let kind = match said.status.code() {
            Some(13) => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        let words = String::from_utf8_lossy(&said.stderr);
        Err(VaultError::new(
            kind,
            format!("a drill of {cluster} failed: {}", words.trim()),
        ))
    }
}

/// Sends SIGTERM to a child that still runs when it is dropped.
struct Running(Option<u32>);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _gone = kill_process(pid, Signal::TERM);
        }
    }
}

/// Beside this program, or in `PATH`.
fn restorer() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(RESTORER)));
    beside
        .filter(|program| program.is_file())
        .unwrap_or_else(|| RESTORER.into())
}
