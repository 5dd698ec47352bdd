//! Users and passwords of real releases: tokens that expire, a password that changes, and none of it in sight.

use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::{Client, ConnectOptions, PermissionType};
use revkeep_harness::{Etcd, EtcdOptions, EtcdVersion, base_etcd, etcd_versions, http};

use crate::world::{World, is};

/// Tokens live so long without being used, in seconds.
const TOKEN_TTL: u64 = 2;

fn root() -> ConnectOptions {
    ConnectOptions::new().with_user("root", "root's own")
}

/// A source with authentication, and the user `agent` with the password `first secret` and the role root.
async fn guarded(version: &EtcdVersion) -> Result<(Etcd, Client)> {
    let mut options = EtcdOptions::default();
    if version.series() >= (3, 5) {
        options = options.flag(format!("--auth-token-ttl={TOKEN_TTL}"));
    }
    let etcd = Etcd::start_with(version, options).await?;
    let mut client = etcd.client().await?;
    client.put("key", "value", None).await?;
    client.user_add("root", "root's own", None).await?;
    client.user_grant_role("root", "root").await?;
    client.user_add("agent", "first secret", None).await?;
    client.user_grant_role("agent", "root").await?;
    client.auth_enable().await?;
    let client = etcd
        .client_with(root().with_auto_token_refresh(true))
        .await?;
    Ok((etcd, client))
}

async fn outlives_its_token_and_its_password(version: EtcdVersion) -> Result<()> {
    let world = World::new()?;
    let (mut etcd, mut client) = guarded(&version).await?;
    let file = world.text("password")?;
    std::fs::write(&file, "first secret\n")?;
    let flags = [
        "--user",
        "agent",
        "--password-file",
        &file,
        "--flush-interval",
        "100ms",
    ];
    let mut agent = world.agent(
        &etcd.endpoints(),
        &[&flags[..], &["--log-level", "debug"]].concat(),
    )?;
    agent.keeps(&mut client).await?;
    // Long enough for a token to expire, had it not been used.
    tokio::time::sleep(Duration::from_secs(TOKEN_TTL + 2)).await;
    agent.keeps(&mut client).await?;

    // Old tokens are void from here on.
    client
        .user_change_password("agent", "second secret")
        .await?;
    std::fs::write(&file, "second secret\n")?;
    agent.keeps(&mut client).await?;
    // The agent asks on its open connection again, at the latest at its next look, and is answered.
    agent.agent.wait_for_log("logged in again").await?;
    agent.until_is("revkeep_source_answers", 1).await?;
    etcd.restart().await?;
    agent.keeps(&mut client).await?;

    let metrics = http::request("GET", agent.port, "/metrics").await?.1;
    let log = agent.agent.log();
    agent.agent.stop().await?;
    for secret in ["first secret", "second secret"] {
        ensure!(
            !log.contains(secret) && !metrics.contains(secret),
            "{secret} is shown"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_expires_and_a_password_changes_under_a_running_agent() -> Result<()> {
    let all = etcd_versions().into_iter().map(|version| async {
        let name = version.to_string();
        let outcome = Box::pin(outlives_its_token_and_its_password(version)).await;
        outcome.map_err(|error| error.context(name))
    });
    futures::future::try_join_all(all).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_said_and_taken_up_once_it_is() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let (etcd, mut client) = guarded(&version).await?;
    client.role_add("reader").await?;
    let everything = etcd_client::Permission::new(PermissionType::Read, "\0").with_from_key();
    client.role_grant_permission("reader", everything).await?;
    client.user_revoke_role("agent", "root").await?;
    client.user_grant_role("agent", "reader").await?;
    let flags = ["--user", "agent:first secret", "--flush-interval", "100ms"];
    let mut agent = world.agent(&etcd.endpoints(), &flags)?;
    // It reads, but may take no snapshot.
    let advice =
        "grant agent the role root, which etcd asks for: etcdctl user grant-role agent root";
    agent.agent.wait_for_log(advice).await?;
    let (code, ready) = http::request("GET", agent.port, "/readyz").await?;
    ensure!(code == 503 && ready.contains(advice), "{code} {ready}");
    ensure!(
        agent
            .metric("revkeep_healthy")
            .await
            .is_some_and(|value| is(value, 0))
    );
    agent.agent.wait_for_log("source_denied: ").await?;
    client.user_grant_role("agent", "root").await?;
    agent.keeps(&mut client).await?;
    ensure!(
        !agent.agent.log().contains("first secret"),
        "the password is shown"
    );
    agent.agent.stop().await
}
