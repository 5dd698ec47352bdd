//! A member, put together as in production.

use std::{error::Error, future::pending, sync::Arc, time::Duration};

use revkeep_store::{
    StoreError,
    executor::Executor,
    server::{ClusterState, Config, Environment, Node, ServerUrl},
};
use tokio::time::sleep;

use super::{
    network::{CLIENT_PORT, SimListen},
    world::{StoreWorld, time_of_day},
};
use crate::simulation::SimDial;

/// How often the spare place looks whether it is wanted.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the member on a place until its host goes down.
pub async fn member(world: Arc<StoreWorld>, index: usize) -> Result<(), Box<dyn Error>> {
    let seat = &world.base.seats[index];
    tokio::spawn(keep_time(Arc::clone(&world), index));
    loop {
        let generation = world.generation();
        if !world.is_founder(index) {
            if generation == 0 {
                sleep(LOOK).await;
                continue;
            }
            make_room(&world, index, generation)?;
        }
        let start = seat.start();
        let environment = Environment {
            dial: Some(Arc::new(SimDial)),
            disk: Some(Arc::new(seat.disk())),
            listen: Some(Arc::new(SimListen)),
            executor: Executor::Slow(world.slowness(index)),
            seed: Some(world.seed_of(&format!("{}, start {start}", seat.name))),
            clock: Some(time_of_day),
        };
        let node = match Node::start(config(&world, index)?, environment).await {
            Ok(node) => node,
            // It was not added yet, or no member could be asked.
            Err(_) if !world.is_founder(index) && !has_begun(&world, index) => {
                sleep(LOOK).await;
                continue;
            }
            Err(error) => {
                judge_stop(&world, index, "start", &error);
                seat.set_stopped();
                return pending().await;
            }
        };
        let renewed = async {
            while world.is_founder(index) || world.generation() == generation {
                sleep(LOOK).await;
            }
        };
        let ended = tokio::select! {
            biased;
            ended = node.ended() => Some(ended),
            () = renewed => None,
        };
        drop(node);
        match ended {
            Some(Err(error)) => {
                judge_stop(&world, index, "go on", &error);
                seat.set_stopped();
                return pending().await;
            }
            // Removed: the place waits for the next member.
            Some(Ok(())) if world.is_founder(index) => {
                let what = format!("{:?}: {} was removed by nobody", world.now(), seat.name);
                world.record().failures.push(what);
                return pending().await;
            }
            Some(Ok(())) => {
                while world.generation() == generation {
                    sleep(LOOK).await;
                }
            }
            None => {}
        }
    }
}

/// Lets the host's clock jump ahead when it is to.
async fn keep_time(world: Arc<StoreWorld>, index: usize) {
    loop {
        sleep(LOOK).await;
        let jump = world.take_jump(index);
        if !jump.is_zero() {
            tokio::time::advance(jump).await;
        }
    }
}

/// A disk that was made to fail may stop its member; nothing else may.
fn judge_stop(world: &StoreWorld, index: usize, what: &str, error: &StoreError) {
    let mut text = error.to_string();
    let mut source = Error::source(error);
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    let expected = [
        "a fault was asked for",
        "lost its power",
        "Previous I/O error",
        "StorageFull",
        "no storage space",
        "not enough space",
    ];
    if !expected.iter().any(|known| text.contains(known)) {
        let name = &world.base.seats[index].name;
        let failure = format!("{:?}: {name} did not {what}: {text}", world.now());
        world.record().failures.push(failure);
    }
}

fn data_dir(world: &StoreWorld, index: usize) -> std::path::PathBuf {
    world.base.seats[index].scratch.path().join("data")
}

fn has_begun(world: &StoreWorld, index: usize) -> bool {
    data_dir(world, index).join("member").exists()
}

/// A new member on the spare place has nothing of the one before.
fn make_room(world: &StoreWorld, index: usize, generation: u64) -> std::io::Result<()> {
    let seat = &world.base.seats[index];
    let note = seat.scratch.path().join("generation");
    let taken = std::fs::read_to_string(&note).unwrap_or_default();
    if taken != generation.to_string() {
        let dir = data_dir(world, index);
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        seat.replace_disk();
        std::fs::write(note, generation.to_string())?;
    }
    Ok(())
}

fn config(world: &StoreWorld, index: usize) -> Result<Config, StoreError> {
    let seat = &world.base.seats[index];
    let seats = world.base.seats.iter();
    let members: Vec<String> = seats
        .filter(|other| world.is_founder(other.index) || other.index == index)
        .map(|other| format!("{}={}", other.name, other.peer_url))
        .collect();
    Ok(Config {
        listen_client_urls: ServerUrl::list(&format!("http://0.0.0.0:{CLIENT_PORT}"))?,
        advertise_client_urls: ServerUrl::list(&format!("http://{}:{CLIENT_PORT}", seat.name))?,
        listen_peer_urls: ServerUrl::list("http://0.0.0.0:2380")?,
        initial_advertise_peer_urls: ServerUrl::list(&seat.peer_url)?,
        initial_cluster: members.join(",").parse()?,
        initial_cluster_state: if world.is_founder(index) {
            ClusterState::New
        } else {
            ClusterState::Existing
        },
        // So few entries are kept that members that lag need snapshots.
        snapshot_count: 100,
        watch_progress_notify_interval: Duration::from_secs(2),
        ..Config::alone(&seat.name, data_dir(world, index))
    })
}
