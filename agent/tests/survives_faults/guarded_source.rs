//! A source behind TLS with client certificates, users and passwords.

use anyhow::{Context, Result, ensure};
use etcd_client::ConnectOptions;
use revkeep_harness::product::{Answer, CLUSTER, run};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Certificates, Etcd, EtcdOptions, base_etcd};

use crate::world::{QUICK, World, put};

fn root() -> ConnectOptions {
    ConnectOptions::new().with_user("root", "pass word")
}

/// A connect that may take longer than on an idle machine.
const PATIENT: [&str; 2] = ["--dial-timeout", "20s"];

async fn snapshot(world: &World, etcd: &Etcd, flags: &[&str]) -> Result<Answer> {
    let endpoint = etcd.endpoint();
    let arguments = ["snapshot", "--endpoints", &endpoint, "--cluster", CLUSTER];
    run(
        "revkeep-agent",
        &world.vault,
        &[&arguments[..], flags].concat(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_with_tls_and_users_is_captured() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let certificates = Certificates::make(&world.path("certificates"))?;
    let strangers = Certificates::make(&world.path("strangers"))?;
    let options = EtcdOptions {
        tls: Some(certificates.clone()),
        ..EtcdOptions::default()
    };
    let etcd = Etcd::start_with(&version, options).await?;
    let mut client = etcd.client().await?;
    client.user_add("root", "pass word", None).await?;
    client.user_grant_role("root", "root").await?;
    client.auth_enable().await?;
    let mut client = etcd.client_with(root()).await?;

    let file = |of: &Certificates, name: &str| -> Result<String> {
        let file = of.file(name);
        Ok(file
            .to_str()
            .context("a path that is not UTF-8")?
            .to_owned())
    };
    let (cert, key) = (
        file(&certificates, "client.crt")?,
        file(&certificates, "client.key")?,
    );
    let (ca, other_ca) = (file(&certificates, "ca.crt")?, file(&strangers, "ca.crt")?);
    let shown = ["--cert", &cert, "--key", &key];
    let tls = [&PATIENT[..], &shown, &["--cacert", &ca]].concat();
    let user = ["--user", "root:pass word"];

    let flags = [&QUICK[..], &tls, &user].concat();
    let agent = world.agent("agent", &etcd.endpoints(), &flags)?;
    put(&mut client, "key", 20).await?;
    let truth = Truth::now(&mut client).await?;
    world.durable(truth.revision).await?;
    agent.stop().await?;
    world.comes_back_as(&etcd, &truth, root()).await?;

    let without_certificate = [&PATIENT[..], &["--cacert", &ca], &user].concat();
    let wrong_password = [&tls[..], &["--user", "root:wrong"]].concat();
    let stranger = [&PATIENT[..], &shown, &["--cacert", &other_ca], &user].concat();
    for wrong in [&without_certificate, &wrong_password, &stranger] {
        let answer = snapshot(&world, &etcd, wrong).await?;
        ensure!(answer.code == 2, "{wrong:?}: {answer:?}");
    }
    let skipping = [&stranger[..], &["--insecure-skip-tls-verify"]].concat();
    let answer = snapshot(&world, &etcd, &skipping).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}
