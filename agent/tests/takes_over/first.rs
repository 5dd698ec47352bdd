//! What several agents cost: one base, one upload of each revision, and few requests when nothing happens.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_agent::Target;
use revkeep_agent::head::HeadKeeper;
use revkeep_agent::turn::{TurnTask, Turns, UploadPolicy};
use revkeep_harness::{FaultyStore, Request, base_etcd};
use revkeep_schemas::Revision;
use revkeep_vault::{SourceIdentity, Vault};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::rows::{Held, timeline};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_agents_that_start_together_store_everything_once() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let mut world = World::new(&version).await?;
    world.start_all().await?;
    let at = world.put("shared", 50).await?;
    world.durable(at).await?;
    let info = world.info().await?;
    let bases = info.pointer("/timelines/0/bases").and_then(Value::as_array);
    let revisions: Vec<_> = bases
        .context("no bases")?
        .iter()
        .filter_map(|base| base.get("revision"))
        .collect();
    ensure!(revisions.len() == 1, "{info}");
    let line = timeline(&world.vault).await?.context("no timeline")?;
    let held = Held::all(&line, &line.inventory().await?).await?;
    ensure!(held.again == 0, "{} rows were stored again", held.again);
    Box::pin(world.exact()).await
}

/// An hour in which nothing happens, of an uploader and two followers: the clock is the test's.
#[tokio::test(start_paused = true)]
async fn an_idle_hour_costs_less_than_sixty_puts_and_no_listing() -> Result<()> {
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let told = Arc::clone(&seen);
    let judge = move |request, _: &Path| {
        told.lock().unwrap().push(request);
        None
    };
    let store = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), judge));
    let vault = Vault::create_with_store(store, Path::from("v")).await?;
    let cluster = vault.cluster(&"test".parse()?);
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await?;
    let target = Target { cluster, timeline };
    let done = CancellationToken::new();
    let mut turns = Vec::new();
    for id in 1..=3 {
        let durable = Some(Revision(9));
        let head = Arc::new(HeadKeeper::new(Revision(9), Revision::ZERO, durable));
        let turn = Turns::new(UploadPolicy::One);
        let interval = Duration::from_secs(10);
        let task = TurnTask::new(target.clone(), head, Arc::clone(&turn), (id, interval));
        tokio::spawn(task.run(done.clone()));
        turns.push(turn);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    seen.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let uploads: HashSet<_> = turns.iter().map(|turn| turn.uploads()).collect();
    ensure!(uploads.len() == 2 && turns[0].uploads());
    let seen = seen.lock().unwrap().clone();
    let count = |kind| seen.iter().filter(|request| **request == kind).count();
    let (puts, gets, lists) = (
        count(Request::Put),
        count(Request::Get),
        count(Request::List),
    );
    eprintln!("an idle hour of three agents: {puts} PUT, {gets} GET, {lists} LIST");
    ensure!(puts <= 60 && lists == 0, "{puts} PUT, {lists} LIST");
    ensure!(gets < 2 * 3600, "{gets} GET");
    done.cancel();
    Ok(())
}
