//! A member whose content is not that of its cluster.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, base_etcd, binary, free_port, http};
use tokio::process::Command;

use crate::world::{QUICK, WITHIN, World, put};

/// Writes other bytes of the same length in the place of a value, wherever it is in the file: pages have no checksum.
fn falsify(etcd: &Etcd, from: &[u8], to: &[u8]) -> Result<()> {
    let file = etcd.db_file();
    let mut bytes = fs::read(&file)?;
    let places: Vec<_> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    ensure!(!places.is_empty(), "the value is not in the file");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    fs::write(file, bytes)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_member_that_has_diverged_is_stored_and_no_timeline_is_opened_for_it()
-> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let mut cluster = Etcd::start_cluster(&version, 3).await?;
    let endpoints = cluster.endpoints();
    let mut client = cluster.client().await?;
    let alone = [endpoints.last().context("no member")?.clone()];
    let agent = world.agent("agent", &alone, &QUICK)?;
    let shared = put(&mut client, "shared", 20).await?;
    world.durable(1, shared).await?;
    agent.stop().await?;

    let bad = cluster.members.last_mut().context("no member")?;
    bad.stop().await?;
    falsify(bad, b"shared 19", b"shared XX")?;
    bad.restart().await?;
    put(&mut client, "later", 10).await?;
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let flags = [&QUICK[..], &["--listen-status", &listen]].concat();
    let mut agent = world.agent("agent", &alone, &flags)?;
    agent.wait_for_log("has diverged from its cluster").await?;
    let deadline = Instant::now() + WITHIN;
    loop {
        let (status, body) = http::request("GET", port, "/readyz").await?;
        if status == 503 && body.contains("diverged") {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{status}: {body}\n{}",
            agent.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (_, metrics) = http::request("GET", port, "/metrics").await?;
    ensure!(metrics.contains("revkeep_diverged 1"), "{metrics}");
    agent.alive()?;
    let lines = world.lines().await?;
    ensure!(
        lines.len() == 1 && lines[0].maximum_recoverable == Some(shared),
        "{lines:?}"
    );

    // Where the others can be had, capture goes on with them.
    agent.stop().await?;
    let bad_first: Vec<_> = endpoints.iter().rev().cloned().collect();
    let agent = world.agent("agent", &bad_first, &QUICK)?;
    let truth = Truth::now(&mut cluster.members[0].client().await?).await?;
    world.durable(1, truth.revision).await?;
    agent.stop().await?;
    world.comes_back(&version, None, &truth).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_of_a_member_that_has_diverged_further_back_is_not_stored() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let mut cluster = Etcd::start_cluster(&version, 3).await?;
    let endpoints = cluster.endpoints();
    let mut client = cluster.client().await?;
    let alone = [endpoints[2].clone()];
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let flags = [&QUICK[..], &["--listen-status", &listen]].concat();
    let mut agent = world.agent("agent", &alone, &flags)?;
    agent.wait_for_log("base is durable").await?;
    let shared = put(&mut client, "shared", 30).await?;
    world.durable(1, shared).await?;
    // Its newest keys stay as they were, so that the watch goes on.
    let bad = &mut cluster.members[2];
    bad.stop().await?;
    falsify(bad, b"shared 7", b"shared X")?;
    bad.restart().await?;
    let later = put(&mut client, "later", 5).await?;
    let lines = world.durable(1, later).await?;
    let asked = Command::new(binary("revkeep-agent")?)
        .args(["snapshot", "--agent", &listen])
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(
        !asked.status.success() && said.contains("diverged"),
        "{said}\n{}",
        agent.log()
    );
    agent.stop().await?;
    ensure!(world.lines().await? == lines, "something was stored");
    let bases = fs::read_dir(world.path("vault/clusters/test/0001/bases"))?;
    ensure!(bases.count() == 1, "a base of it was stored");
    Ok(())
}
