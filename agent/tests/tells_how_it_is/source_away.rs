//! The source goes away and comes back, behind TLS: not ready meanwhile, and alive all the time.

use anyhow::{Context, Result, ensure};
use revkeep_harness::product::VaultPlace;
use revkeep_harness::{Certificates, Etcd, EtcdOptions, base_etcd};
use tempfile::TempDir;

use crate::watched::{PATIENT, Watched, put};

/// The end of the year 4095, until when the harness's certificates are good.
const EXPIRES: f64 = 67_090_118_400.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_source_decides_whether_the_agent_is_ready() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = TempDir::with_prefix("revkeep-status-")?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let certificates = Certificates::make(&folder.path().join("certificates"))?;
    let options = EtcdOptions {
        tls: Some(certificates.clone()),
        ..EtcdOptions::default()
    };
    let mut etcd = Etcd::start_with(&version, options).await?;
    let mut client = etcd.client().await?;
    put(&mut client, "before", 5).await?;
    let file = |name: &str| -> Result<String> {
        let file = certificates.file(name);
        Ok(file.to_str().context("not UTF-8")?.to_owned())
    };
    let (ca, cert, key) = (file("ca.crt")?, file("client.crt")?, file("client.key")?);
    let tls = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let patience = ["--dial-timeout", "20s"];
    let flags = [&PATIENT[..], &tls, &patience].concat();
    let mut agent = Watched::start(&folder, &etcd.endpoints(), &vault, &flags)?;
    agent.started().await?;
    for usage in ["client", "ca", "server"] {
        let name = format!("revkeep_certificate_expiry_timestamp_seconds{{usage=\"{usage}\"}}");
        let at = |expires: f64| expires.to_bits() == EXPIRES.to_bits();
        agent.until_metric(&name, at).await?;
    }

    etcd.stop().await?;
    let ask = async |agent: &Watched| agent.get("/readyz").await;
    let answer = agent
        .until("not ready", ask, |(code, _)| *code == 503)
        .await?;
    ensure!(answer.1.contains("the source is not read"), "{answer:?}");
    ensure!(agent.get("/livez").await?.0 == 200);
    ensure!(agent.reasons().await? == ["disconnected"]);
    let status = agent.status().await?;
    ensure!(
        !status.ready && status.phase == "disconnected",
        "{status:?}"
    );
    ensure!(agent.metric("revkeep_watching").await? < 1.0);

    etcd.restart().await?;
    agent
        .until("ready again", ask, |(code, _)| *code == 200)
        .await?;
    let ask = async |agent: &Watched| agent.reasons().await;
    agent.until("healthy again", ask, Vec::is_empty).await?;
    agent.agent.stop().await
}
