//! What was captured turned out to be wrong, which is recorded; and the agent ended before the base was stored that takes
//! its place, with some of it still in the spool.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use revkeep_agent::spool::{Folder, Place};
use revkeep_harness::truth::Truth;
use revkeep_harness::{Etcd, base_etcd};
use revkeep_schemas::Revision;
use revkeep_vault::{SegmentEntry, Timeline};

use crate::rows::timeline;
use crate::world::{World, put};

const FLAGS: [&str; 4] = [
    "--flush-interval",
    "100ms",
    // Bases only where they are needed.
    "--snapshot-schedule",
    "0 0 1 1 *",
];

/// Takes the newest segment out of the vault, and puts it where it was before it went up.
async fn back_into_the_spool(world: &World, timeline: &Timeline) -> Result<SegmentEntry> {
    let segments = timeline.segments().await?;
    let newest = segments.into_iter().max_by_key(|entry| entry.last);
    let newest = newest.context("no segment")?;
    let place = Place {
        vault: timeline.cluster().vault().id(),
        cluster: timeline.cluster().name().clone(),
        timeline: timeline.id(),
    };
    let folder = Folder::path(&world.path("agent").join("state"), &place);
    let object = world.path("vault").join(&newest.name);
    let name = Path::new(&newest.name).file_name().context("no name")?;
    let mut file = name.to_owned();
    file.push(".segment");
    let file: PathBuf = folder.join(file);
    std::fs::rename(&object, &file)
        .with_context(|| format!("{} to {}", object.display(), file.display()))?;
    Ok(newest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_captured_wrongly_is_brought_back_by_a_base_at_the_next_start() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let agent = world.agent("agent", &etcd.endpoints(), &FLAGS)?;
    let before = put(&mut client, "before", 20).await?;
    world.durable(before).await?;
    let wrong = put(&mut client, "wrong", 20).await?;
    let info = world.durable(wrong).await?;
    ensure!(info.bases.len() == 1, "{info:?}");
    agent.stop().await?;
    let line = timeline(&world.vault).await?.context("no timeline")?;
    let newest = back_into_the_spool(&world, &line).await?;
    let at = Revision(wrong);
    ensure!(newest.last == at, "{newest:?}");
    line.put_distrust(at, at, "the test says so").await?;

    let agent = world.agent("agent", &etcd.endpoints(), &FLAGS)?;
    put(&mut client, "later", 5).await?;
    let truth = Truth::now(&mut client).await?;
    let info = world.durable(truth.revision).await?;
    let log = agent.log();
    agent.stop().await?;
    // Nothing that holds the revision is stored, and a base brings it back.
    ensure!(info.ranges() == [(1, truth.revision)], "{info:?}\n{log}");
    ensure!(info.bases.len() == 2, "{info:?}\n{log}");
    let segments = line.segments().await?;
    let holds = |entry: &SegmentEntry| entry.first <= at && at <= entry.last;
    ensure!(!segments.iter().any(holds), "{segments:?}\n{log}");
    world.comes_back(&etcd, &truth).await
}
