//! Certificates of both sides and their authority, replaced under a running agent.

use anyhow::Result;
use revkeep_harness::{Certificates, Etcd, EtcdOptions, EtcdVersion, etcd_versions};

use crate::world::World;

/// Seconds since 1970 at the beginning of the years 2050 and 2060.
const OLD: f64 = 2_524_608_000.0;
const NEW: f64 = 2_840_140_800.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_authority_and_its_certificates_need_no_restart() -> Result<()> {
    let all = etcd_versions().into_iter().map(|version| async {
        let name = version.to_string();
        let outcome = Box::pin(everything_is_replaced(version)).await;
        outcome.map_err(|error| error.context(name))
    });
    futures::future::try_join_all(all).await?;
    Ok(())
}

async fn everything_is_replaced(version: EtcdVersion) -> Result<()> {
    let world = World::new()?;
    let folder = world.path("certificates");
    let certificates = Certificates::make_until(&folder, 2050)?;
    let options = EtcdOptions {
        tls: Some(certificates),
        ..EtcdOptions::default()
    };
    let mut etcd = Etcd::start_with(&version, options).await?;
    let file = |name: &str| world.text(&format!("certificates/{name}"));
    let (ca, cert, key) = (file("ca.crt")?, file("client.crt")?, file("client.key")?);
    let flags = [
        "--cacert",
        &ca,
        "--cert",
        &cert,
        "--key",
        &key,
        "--dial-timeout",
        "20s",
    ];
    let flags = [&flags[..], &["--flush-interval", "100ms"]].concat();
    let mut agent = world.agent(&etcd.endpoints(), &flags)?;
    agent.keeps(&mut etcd.client().await?).await?;
    let client = "revkeep_certificate_expiry_timestamp_seconds{usage=\"client\"}";
    let server = "revkeep_certificate_expiry_timestamp_seconds{usage=\"server\"}";
    agent.until(client, |end| end <= OLD).await?;
    agent.until(server, |end| end <= OLD).await?;

    // Neither trusts what the other had shown before.
    Certificates::make_until(&folder, 2060)?;
    etcd.restart().await?;
    agent.keeps(&mut etcd.client().await?).await?;
    agent.until(client, |end| end >= NEW).await?;
    agent.until(server, |end| end >= NEW).await?;
    agent.agent.stop().await
}
