//! A cluster that a test directs: it says what happens when, and asks members directly.

use std::{
    collections::VecDeque,
    error::Error,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use revkeep_store::{
    executor::Executor,
    raft::{RaftEnvironment, RaftHandle, RaftStatus, Role, StopReason},
};
use tokio::{sync::oneshot, time::sleep};
use turmoil::Sim;

use super::{Journal, JournalMember, SimDial, Software, World, cluster::simulation, serve_peers};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
type Job = Box<dyn FnOnce(RaftHandle<u64>, Arc<Journal>) -> Running + Send>;

/// How the test reaches what runs on a host.
#[derive(Default)]
struct Door {
    jobs: Mutex<VecDeque<Job>>,
    handle: Mutex<Option<(RaftHandle<u64>, Arc<Journal>)>>,
}

/// A member without clients of its own, that does what the test asks.
#[derive(Clone)]
struct Actor {
    member: JournalMember,
    doors: Arc<Vec<Door>>,
}

impl Software for Actor {
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
            executor: Executor::Slow(seat.slowness),
        };
        let config = self.member.config(&world, index, start);
        let founders = world.founders(index);
        let handle = RaftHandle::start(config, &founders, journal.clone(), environment).await?;
        let door = &self.doors[index];
        *door.handle.lock().unwrap() = Some((handle.clone(), Arc::clone(&journal)));
        let jobs = async {
            loop {
                let job = door.jobs.lock().unwrap().pop_front();
                match job {
                    Some(job) => drop(tokio::spawn(job(handle.clone(), Arc::clone(&journal)))),
                    None => sleep(Duration::from_millis(2)).await,
                }
            }
        };
        let mut stopped = handle.stopped();
        tokio::select! {
            served = serve_peers(handle.peer_service()) => served?,
            () = jobs => {}
            () = async { drop(stopped.wait_for(Option::is_some).await) } => {
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    fn rows(&self, world: &World, index: usize) -> Vec<String> {
        self.member.rows(world, index)
    }
}

/// A cluster that a test directs.
pub struct Stage {
    sim: Sim<'static>,
    pub world: Arc<World>,
    doors: Arc<Vec<Door>>,
    kills: u64,
}

impl Stage {
    /// `founders` members that run, and more that are off until they are [started](Self::start).
    pub fn new(seed: u64, founders: usize, more: usize) -> Self {
        let world = World::new(seed, founders + more, founders);
        let doors: Vec<Door> = (0..founders + more).map(|_| Door::default()).collect();
        let doors = Arc::new(doors);
        let actor = Actor {
            member: JournalMember::default(),
            doors: Arc::clone(&doors),
        };
        let mut sim = simulation(&world, &actor);
        for seat in world.seats.iter().skip(founders) {
            sim.crash(seat.name.as_str());
        }
        Self {
            sim,
            world,
            doors,
            kills: 0,
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    /// The simulation's time.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Steps until `done`, or fails after a minute of simulated time.
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = self.sim.elapsed() + Duration::from_secs(60);
        while !done(self) {
            assert!(self.sim.elapsed() < end, "{what}: not within a minute");
            self.run_for(Duration::from_millis(10));
        }
    }

    /// Has the member on a seat do something, and waits for what it came to.
    pub fn on<T, F, R>(&mut self, index: usize, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(RaftHandle<u64>, Arc<Journal>) -> R + Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        let (done, mut result) = oneshot::channel();
        let job: Job = Box::new(|handle, journal| {
            Box::pin(async move {
                let _ = done.send(work(handle, journal).await);
            })
        });
        self.doors[index].jobs.lock().unwrap().push_back(job);
        let end = self.sim.elapsed() + Duration::from_secs(60);
        loop {
            self.sim.step().unwrap();
            if let Ok(result) = result.try_recv() {
                return result;
            }
            assert!(
                self.sim.elapsed() < end,
                "m{index} did not answer within a minute"
            );
        }
    }

    /// Writes through the member on a seat.
    pub fn write(&mut self, index: usize, what: &str) -> revkeep_store::Result<u64> {
        let command = Journal::command(what, 10);
        self.on(index, |handle, _| async move {
            handle.propose(command, "", 0).await
        })
    }

    /// Begins a write through the member on a seat; `true` once it is answered.
    pub fn begin_write(&mut self, index: usize, what: &str) -> Arc<AtomicBool> {
        let command = Journal::command(what, 10);
        let answered = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&answered);
        self.on(index, |handle, _| async move {
            tokio::spawn(async move {
                let outcome = handle.propose(command, "", 0).await;
                told.store(outcome.is_ok(), Ordering::SeqCst);
            });
        });
        answered
    }

    /// Reads through the member on a seat, not stale.
    pub fn read(&mut self, index: usize) -> revkeep_store::Result<u64> {
        self.on(index, |handle, journal| async move {
            handle.read_index().await?;
            Ok(journal.revision())
        })
    }

    /// How the member on a seat stands; `None` while it is off.
    pub fn status(&self, index: usize) -> Option<RaftStatus> {
        let door = self.doors[index].handle.lock().unwrap();
        door.as_ref().map(|(handle, _)| handle.status())
    }

    pub fn handle(&self, index: usize) -> RaftHandle<u64> {
        let door = self.doors[index].handle.lock().unwrap();
        door.as_ref().unwrap().0.clone()
    }

    pub fn stop_reason(&self, index: usize) -> Option<StopReason> {
        self.handle(index).stopped().borrow().clone()
    }

    /// What the member on a seat has applied.
    pub fn rows(&self, index: usize) -> Vec<String> {
        let door = self.doors[index].handle.lock().unwrap();
        door.as_ref()
            .map(|(_, journal)| journal.rows())
            .unwrap_or_default()
    }

    /// The seat of the leader that all members which run and are reachable agree on.
    pub fn leader(&self) -> Option<usize> {
        (0..self.doors.len()).find(|index| {
            self.status(*index)
                .is_some_and(|status| status.role == Role::Leader)
        })
    }

    /// Waits for a leader among `seats` that all of them follow.
    pub fn await_leader(&mut self, seats: &[usize]) -> usize {
        let agreed = |stage: &Self| {
            let mut leaders = seats
                .iter()
                .map(|seat| stage.status(*seat).and_then(|status| status.leader));
            let first = leaders.next().flatten();
            first.filter(|first| {
                let is_there = seats.iter().any(|seat| stage.id(*seat) == *first);
                is_there && leaders.all(|leader| leader == Some(*first))
            })
        };
        self.run_until("a leader", |stage| agreed(stage).is_some());
        let leader = agreed(self).unwrap();
        let mut seats = self.world.seats.iter();
        seats.position(|seat| seat.id == leader).unwrap()
    }

    pub fn id(&self, index: usize) -> u64 {
        self.world.seats[index].id
    }

    /// The power goes.
    pub fn kill(&mut self, index: usize) {
        self.kills += 1;
        *self.doors[index].handle.lock().unwrap() = None;
        self.doors[index].jobs.lock().unwrap().clear();
        let seed = self.world.seed ^ self.kills;
        self.world.seats[index].cut_power(seed);
        self.sim.crash(self.world.seats[index].name.as_str());
    }

    /// The power comes, for the first time or again.
    pub fn start(&mut self, index: usize) {
        self.sim.bounce(self.world.seats[index].name.as_str());
        self.run_until("a start", |stage| stage.status(index).is_some());
    }

    /// Cuts a member off from all others.
    pub fn isolate(&mut self, index: usize) {
        for other in 0..self.doors.len() {
            if other != index {
                self.sim.partition(self.name(index), self.name(other));
            }
        }
    }

    /// Cuts what a member says, but not what it hears.
    pub fn mute(&mut self, index: usize) {
        for other in 0..self.doors.len() {
            if other != index {
                self.sim
                    .partition_oneway(self.name(index), self.name(other));
            }
        }
    }

    pub fn heal(&mut self) {
        for one in 0..self.doors.len() {
            for other in one + 1..self.doors.len() {
                self.sim.repair(self.name(one), self.name(other));
                self.sim.repair_oneway(self.name(one), self.name(other));
                self.sim.repair_oneway(self.name(other), self.name(one));
            }
        }
    }

    fn name(&self, index: usize) -> &str {
        &self.world.seats[index].name
    }
}
