//! A member with a journal, and its clients.

use std::{error::Error, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_store::{
    executor::Executor,
    raft::{RaftConfig, RaftEnvironment, RaftHandle},
};
use tokio::time::sleep;

use super::{Journal, Kind, SimDial, Software, World, serve_peers};

/// A member whose state machine is a [`Journal`], with clients that write and read all the time.
#[derive(Clone, Copy, Debug)]
pub struct JournalMember {
    /// Clients on each member.
    pub clients: u64,
    /// How long a client rests between two operations, at most.
    pub rest: Duration,
    /// Entries the log keeps for members that lag; few, so that snapshots are needed.
    pub keep_entries: u64,
}

impl Default for JournalMember {
    fn default() -> Self {
        Self {
            clients: 3,
            rest: Duration::from_millis(60),
            keep_entries: 50,
        }
    }
}

impl JournalMember {
    /// A member's settings in the simulation.
    pub fn config(&self, world: &World, index: usize, start: u64) -> RaftConfig {
        let seat = &world.seats[index];
        RaftConfig {
            keep_entries: self.keep_entries,
            seed: world.seed ^ (start << 32) ^ (index as u64 + 1),
            ..RaftConfig::new(world.cluster_id, seat.id, seat.scratch.path())
        }
    }
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Software for JournalMember {
    async fn run(self, world: Arc<World>, index: usize) -> Result<(), Box<dyn Error>> {
        let seat = &world.seats[index];
        let start = seat.start();
        let journal = Arc::new(Journal::open(
            Arc::clone(&seat.journal),
            seat.scratch.path(),
        ));
        let environment = RaftEnvironment {
            disk: Arc::new(seat.disk()),
            dial: Arc::new(SimDial),
            executor: Executor::Inline,
        };
        let config = self.config(&world, index, start);
        let founders = world.founders(index);
        let started = RaftHandle::start(config, &founders, journal.clone(), environment).await;
        let handle = match started {
            Ok(handle) => handle,
            // A disk that fails at the start stops the member, too.
            Err(error) if error.is_fatal() && !world.is_quiet() => {
                seat.set_stopped();
                return std::future::pending().await;
            }
            Err(error) => return Err(error.into()),
        };
        for client in 0..self.clients {
            let name = format!("{}.{start}.{client}", seat.name);
            tokio::spawn(work(
                name,
                self.rest,
                Arc::clone(&world),
                handle.clone(),
                Arc::clone(&journal),
            ));
        }
        let mut stopped = handle.stopped();
        tokio::select! {
            served = serve_peers(handle.peer_service()) => served?,
            () = async { drop(stopped.wait_for(Option::is_some).await) } => {
                seat.set_stopped();
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    fn rows(&self, world: &World, index: usize) -> Vec<String> {
        let seat = &world.seats[index];
        Journal::open(Arc::clone(&seat.journal), seat.scratch.path()).rows()
    }
}

/// One client: one operation after the other.
async fn work(
    name: String,
    rest: Duration,
    world: Arc<World>,
    handle: RaftHandle<u64>,
    journal: Arc<Journal>,
) {
    let seed = name.bytes().fold(world.seed, |seed, byte| {
        seed.rotate_left(7) ^ u64::from(byte).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let mut random = StdRng::seed_from_u64(seed);
    let mut count = 0;
    while !world.is_quiet() {
        if random.random_range(0..3) < 2 {
            count += 1;
            let what = format!("{name}.{count}");
            let kind = Kind::Write {
                what: what.clone(),
                revision: None,
            };
            let number = world.history().begin(kind, now());
            let padding = random.random_range(0..2_000);
            let command = Journal::command(&what, padding);
            if let Ok(revision) = handle.propose(command, "", 0).await {
                world.history().end(number, revision, now());
            }
        } else {
            let number = world.history().begin(Kind::Read { revision: None }, now());
            if handle.read_index().await.is_ok() {
                let revision = journal.revision();
                world.history().end(number, revision, now());
            }
        }
        sleep(random.random_range(Duration::ZERO..rest)).await;
    }
}
