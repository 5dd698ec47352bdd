//! The object store goes away for longer than the spool holds, and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use object_store::path::Path;
use revkeep_harness::product::{Agent, CLUSTER, VaultPlace};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, Gate, SeaweedFs, base_etcd};
use revkeep_schemas::manifest::Head;
use revkeep_vault::{Cluster, Coverage, Vault};

use crate::world::{WITHIN, World, compact, put};

/// What the spool holds, and values that fill it several times.
const SPOOL: &str = "128KiB";
const VALUE_BYTES: usize = 4 << 10;
const VALUES: usize = 120;

async fn fill(client: &mut Client) -> Result<i64> {
    let mut revision = 0;
    for n in 0..VALUES {
        let mut value = vec![0; VALUE_BYTES];
        rand::fill(&mut value[..]);
        let answer = client.put(format!("fill/{n}"), value, None).await?;
        revision = answer.header().context("no header")?.revision();
    }
    Ok(revision)
}

/// The cluster, past the gate.
pub(crate) async fn cluster(s3: &SeaweedFs, prefix: &str) -> Result<Cluster> {
    let store = Arc::new(s3.object_store()?);
    let vault = Vault::with_store(store, Path::from(prefix)).await?;
    Ok(vault.cluster(&CLUSTER.parse()?))
}

/// What the head says is in the vault.
pub(crate) async fn honest(cluster: &Cluster) -> Result<Option<Head>> {
    // First the head: what is stored meanwhile only adds to the coverage.
    let head = cluster.head().await?;
    let timeline = cluster.newest_timeline().await?.context("no timeline")?;
    let coverage = Coverage::compute(&timeline.inventory().await?);
    // Before the first base it only says who uploads.
    if let Some(head) = head.as_ref().filter(|head| head.durable_revision.0 > 0) {
        ensure!(
            coverage.contains(head.durable_revision),
            "{head:?}: {coverage:?}"
        );
    }
    Ok(head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_is_told_healed_and_its_gap_is_exact() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    let mut world = World::new()?;
    world.vault = VaultPlace::bucket(&s3, "outage");
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), "outage"),
        ..world.vault.clone()
    };
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let flags = [
        "--flush-interval",
        "200ms",
        "--flush-bytes",
        "16KiB",
        "--spool-limit",
        SPOOL,
    ];
    let mut agent = Agent::start(&world.path("agent"), &etcd.endpoints(), &gated, &flags)?;
    put(&mut client, "before", 20).await?;
    let before = Truth::now(&mut client).await?;
    world.durable(before.revision).await?;
    let cluster = cluster(&s3, "outage").await?;
    honest(&cluster).await?;

    gate.close();
    let filled = fill(&mut client).await?;
    agent.wait_for_log("the spool is full").await?;
    agent.wait_for_log("segment was not stored").await?;
    let compacted = filled - 3;
    compact(&mut client, compacted).await?;
    put(&mut client, "after", 5).await?;
    let after = Truth::now(&mut client).await?;
    honest(&cluster).await?;
    agent.alive()?;

    gate.open();
    world.durable(after.revision).await?;
    // Once more, and nothing is compacted: the history of the base that heals it holds all that was not kept.
    gate.close();
    fill(&mut client).await?;
    let unkept = Truth::now(&mut client).await?;
    let deadline = Instant::now() + WITHIN;
    while agent.log().matches("the spool is full").count() < 2 {
        agent.alive()?;
        ensure!(Instant::now() < deadline, "{}", agent.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gate.open();
    world.durable(unkept.revision).await?;
    put(&mut client, "later", 5).await?;
    let later = Truth::now(&mut client).await?;
    let info = world.durable(later.revision).await?;
    honest(&cluster).await?;
    let log = agent.log();
    agent.stop().await?;
    let head = honest(&cluster).await?.context("no head")?;
    ensure!(head.durable_revision.0 == later.revision, "{head:?}");

    let [kept, healed] = info.ranges()[..] else {
        anyhow::bail!("{info:?}")
    };
    // What was in the spool when it was full arrived; what came after it until the compaction is the gap.
    ensure!(
        kept.0 == 1 && kept.1 > before.revision && kept.1 < filled,
        "{info:?}"
    );
    ensure!(healed == (compacted, later.revision), "{info:?}");
    ensure!(info.lost() == [(kept.1 + 1, compacted - 1)], "{info:?}");
    ensure!(log.matches("the spool is full").count() == 2, "{log}");
    for truth in [&before, &after, &unkept, &later] {
        world.comes_back(&etcd, truth).await?;
    }
    let last_kept = world.restore(kept.1, &world.path("kept")).await?;
    ensure!(last_kept.code == 0, "{last_kept:?}");
    for lost in [kept.1 + 1, compacted - 1] {
        let refused = world.restore(lost, &world.path("lost")).await?;
        ensure!(refused.code == 15, "{lost}: {refused:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_the_store_is_away_ends_within_its_grace() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    let mut world = World::new()?;
    world.vault = VaultPlace::bucket(&s3, "stopped");
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), "stopped"),
        ..world.vault.clone()
    };
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let flags = ["--flush-interval", "200ms", "--flush-bytes", "16KiB"];
    let flags = [&flags[..], &["--grace", "5s"]].concat();
    let mut agent = Agent::start(&world.path("agent"), &etcd.endpoints(), &gated, &flags)?;
    let before = put(&mut client, "before", 20).await?;
    world.durable(before).await?;

    gate.close();
    let filled = fill(&mut client).await?;
    agent.wait_for_log("segment was not stored").await?;
    // It must not wait for the store: nobody knows when it comes back.
    let ended = agent.terminate().await?;
    ensure!(ended.success(), "{ended}:\n{}", agent.log());
    ensure!(agent.log().contains("the rest is in the spool"));

    let filling = Truth::now(&mut client).await?;
    compact(&mut client, filled).await?;
    put(&mut client, "after", 5).await?;
    gate.open();
    let agent = Agent::start(&world.path("agent"), &etcd.endpoints(), &gated, &flags)?;
    let truth = Truth::now(&mut client).await?;
    let info = world.durable(truth.revision).await?;
    agent.stop().await?;
    ensure!(
        info.ranges() == [(1, truth.revision)] && info.gaps.is_empty(),
        "{info:?}"
    );
    for truth in [&filling, &truth] {
        world.comes_back(&etcd, truth).await?;
    }
    Ok(())
}
