//! What belongs to an older timeline goes there.

use anyhow::{Result, ensure};
use revkeep_harness::product::{Agent, VaultPlace};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, Gate, SeaweedFs, base_etcd};

use crate::world::{Ports, QUICK, World, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_comes_back_goes_on_in_its_own_timeline() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let (home, other) = (Etcd::start(&version).await?, Etcd::start(&version).await?);
    let mut client = home.client().await?;
    let agent = world.agent("agent", &home.endpoints(), &QUICK)?;
    let first = put(&mut client, "home", 20).await?;
    world.durable(1, first).await?;
    agent.stop().await?;

    let agent = world.agent("agent", &other.endpoints(), &QUICK)?;
    let strange = put(&mut other.client().await?, "other", 40).await?;
    let lines = world.durable(2, strange).await?;
    ensure!(lines[1].fork_revision == Some(0), "{lines:?}");
    agent.stop().await?;

    let agent = world.agent("agent", &home.endpoints(), &QUICK)?;
    put(&mut client, "home again", 30).await?;
    let truth = Truth::now(&mut client).await?;
    let deadline = std::time::Instant::now() + crate::world::WITHIN;
    loop {
        let lines = world.lines().await?;
        ensure!(lines.len() == 2, "{lines:?}");
        if lines[0].maximum_recoverable == Some(truth.revision) {
            break;
        }
        ensure!(std::time::Instant::now() < deadline, "{lines:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    agent.stop().await?;
    world.comes_back(&version, Some("0001"), &truth).await
}

/// The source is restored while the object store is away: what waits in the spool is of the history before.
async fn spooled(killed: bool) -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    let mut world = World::new()?;
    let prefix = format!("spooled-{killed}");
    world.vault = VaultPlace::bucket(&s3, &prefix);
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), &prefix),
        ..world.vault.clone()
    };
    let ports = Ports::free()?;
    let mut etcd = world
        .member(&version, ports, &world.path("data"), &[])
        .await?;
    let mut client = etcd.client().await?;
    let start = || Agent::start(&world.path("agent"), &[ports.client()], &gated, &QUICK);
    let mut agent = start()?;
    let shared = put(&mut client, "shared", 10).await?;
    world.durable(1, shared).await?;
    let file = world.save(&etcd, "saved.db").await?;
    gate.close();
    put(&mut client, "first", 10).await?;
    let first = Truth::now(&mut client).await?;
    agent.wait_for_log("segment was not stored").await?;
    etcd.stop().await?;
    if killed {
        // What it has sealed is filed by now, and nothing else tells of it.
        agent.kill()?;
    }
    let again = world.etcd_restores(&version, ports, &file, &[]).await?;
    let etcd = world.member(&version, ports, &again, &[]).await?;
    let mut client = etcd.client().await?;
    put(&mut client, "second", 30).await?;
    let second = Truth::now(&mut client).await?;
    if killed {
        agent = start()?;
    }
    gate.open();
    let deadline = std::time::Instant::now() + crate::world::WITHIN;
    loop {
        let lines = world.lines().await?;
        if let [old, new] = &lines[..]
            && old.maximum_recoverable == Some(first.revision)
            && new.maximum_recoverable == Some(second.revision)
        {
            ensure!(new.fork_revision == Some(shared) || !killed, "{lines:?}");
            break;
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "{lines:?}\n{}",
            agent.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    agent.stop().await?;
    world.comes_back(&version, Some("0001"), &first).await?;
    world.comes_back(&version, None, &second).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_goes_to_the_timeline_that_it_was_captured_for() -> Result<()> {
    spooled(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_goes_to_its_timeline_after_a_kill_too() -> Result<()> {
    spooled(true).await
}

/// The agent starts without the store, and the source was set back and written past what the agent remembers: nothing of the
/// new history may get into the old timeline, and what was captured of the old one is not called wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_was_replaced_while_the_store_is_away_is_another_one() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    let mut world = World::new()?;
    world.vault = VaultPlace::bucket(&s3, "replaced");
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), "replaced"),
        ..world.vault.clone()
    };
    let ports = Ports::free()?;
    let data = world.path("data");
    let mut etcd = world.member(&version, ports, &data, &[]).await?;
    let mut client = etcd.client().await?;
    let start = || Agent::start(&world.path("agent"), &[ports.client()], &gated, &QUICK);
    let mut agent = start()?;
    put(&mut client, "shared", 10).await?;
    let file = world.save(&etcd, "saved.db").await?;
    put(&mut client, "first", 10).await?;
    let first = Truth::now(&mut client).await?;
    world.durable(1, first.revision).await?;
    let remembered = world.path("agent").join("state").join("remembered.json");
    let known = format!("\"durable\": {}", first.revision);
    let deadline = std::time::Instant::now() + crate::world::WITHIN;
    while !std::fs::read_to_string(&remembered).is_ok_and(|text| text.contains(&known)) {
        ensure!(
            std::time::Instant::now() < deadline,
            "nothing is remembered"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    agent.kill()?;
    etcd.stop().await?;
    let again = world.etcd_restores(&version, ports, &file, &[]).await?;
    let etcd = world.member(&version, ports, &again, &[]).await?;
    let mut client = etcd.client().await?;
    put(&mut client, "second", 60).await?;
    gate.close();
    let mut agent = start()?;
    agent
        .wait_for_log("the source is not what was captured")
        .await?;
    gate.open();
    let second = Truth::now(&mut client).await?;
    let lines = world.durable(2, second.revision).await?;
    agent.stop().await?;
    ensure!(
        lines[0].maximum_recoverable == Some(first.revision),
        "{lines:?}"
    );
    world.comes_back(&version, Some("0001"), &first).await?;
    world.comes_back(&version, None, &second).await
}
