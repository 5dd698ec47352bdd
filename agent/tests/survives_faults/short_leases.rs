//! Leases that end before the segment with their keys is sealed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, PutOptions};
use revkeep_harness::product::Agent;
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, base_etcd};

use crate::world::{WITHIN, World};

async fn grant(client: &mut Client, ttl_s: i64) -> Result<i64> {
    Ok(client.lease_grant(ttl_s, None).await?.id())
}

async fn attach(client: &mut Client, key: &str, lease: i64) -> Result<()> {
    let options = PutOptions::new().with_lease(lease);
    client.put(key, "x", Some(options)).await?;
    Ok(())
}

async fn known(agent: &mut Agent, lease: i64) -> Result<()> {
    agent
        .wait_for_log(&format!("lease is known lease={lease:016x}"))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ended_before_the_flush_comes_back_with_its_ttl() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let in_base = grant(&mut client, 555).await?;
    attach(&mut client, "base", in_base).await?;
    // Nothing is sealed before the agent is stopped, when most leases are gone.
    let flags = ["--flush-interval", "1h", "--debug"];
    let mut agent = world.agent("agent", &etcd.endpoints(), &flags)?;
    agent.wait_for_log("watching").await?;
    known(&mut agent, in_base).await?;
    attach(&mut client, "base again", in_base).await?;
    let mut truths = vec![Truth::now(&mut client).await?];

    // Known before any key names it, so that the key may go at once.
    let early = grant(&mut client, 777).await?;
    known(&mut agent, early).await?;
    attach(&mut client, "early", early).await?;
    truths.push(Truth::now(&mut client).await?);
    client.lease_revoke(early).await?;

    // Asked for with its first row.
    let revoked = grant(&mut client, 888).await?;
    attach(&mut client, "revoked", revoked).await?;
    truths.push(Truth::now(&mut client).await?);
    known(&mut agent, revoked).await?;
    client.lease_revoke(revoked).await?;
    client.lease_revoke(in_base).await?;

    // Ends by itself.
    let expiring = grant(&mut client, 2).await?;
    attach(&mut client, "expiring", expiring).await?;
    let expired = client.get("expiring", None).await?;
    let at = expired.header().context("no header")?.revision();
    known(&mut agent, expiring).await?;
    let deadline = Instant::now() + WITHIN;
    while client.get("expiring", None).await?.count() > 0 {
        ensure!(Instant::now() < deadline, "the lease never ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    agent.stop().await?;

    for truth in &truths {
        ensure!(!truth.leases.is_empty(), "{truth:?}");
        world.comes_back(&etcd, truth).await?;
    }
    let report = world.restore(at, &world.path("expiring")).await?.json()?;
    let unknown = report.get("leases_with_unknown_ttl");
    ensure!(
        unknown.is_some_and(|ids| ids.as_array().is_some_and(Vec::is_empty)),
        "{report}"
    );
    Ok(())
}
