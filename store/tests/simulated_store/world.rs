//! What outlives every host: disks, what clients saw, who is to be a member.

use std::{
    hash::Hasher as _,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use revkeep_store::executor::Slowness;

use tonic::transport::{Channel, Endpoint};

use super::{audit::Audit, network::simulated_channel, record::Record};
use crate::simulation::World;

/// The place of the member that comes and goes.
#[derive(Clone, Copy, Debug)]
pub struct Spare {
    pub index: usize,
}

/// Where the members are.
enum Place {
    Simulated,
    /// Their client ports on this machine, and when it began.
    Processes {
        ports: Vec<u16>,
        since: Instant,
    },
}

/// Everything that outlives a crash, and what the judge needs.
pub struct StoreWorld {
    place: Place,
    pub base: Arc<World>,
    pub founders: usize,
    /// How often the spare place has been given to a new member; 0 before the first.
    generation: AtomicU64,
    /// How slow each place's disk is.
    slowness: Vec<&'static Slowness>,
    /// By how many milliseconds each place's clock is to jump.
    jumps: Vec<AtomicU64>,
    record: Mutex<Record>,
    audit: Mutex<Option<Audit>>,
    is_over: AtomicBool,
}

impl StoreWorld {
    /// A world of simulated members.
    pub fn simulated(seed: u64, founders: usize) -> Arc<Self> {
        Self::new(seed, founders, Place::Simulated)
    }

    /// A world of processes that serve clients on these ports.
    pub fn of_processes(seed: u64, ports: Vec<u16>) -> Arc<Self> {
        let since = Instant::now();
        Self::new(seed, ports.len(), Place::Processes { ports, since })
    }

    fn new(seed: u64, founders: usize, place: Place) -> Arc<Self> {
        Arc::new(Self {
            place,
            base: World::new(seed, founders + 1, founders),
            founders,
            generation: AtomicU64::new(0),
            // A few bytes for each run.
            slowness: (0..=founders)
                .map(|_| &*Box::leak(Box::default()))
                .collect(),
            jumps: (0..=founders).map(|_| AtomicU64::new(0)).collect(),
            record: Mutex::default(),
            audit: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    /// The names of all places, the spare one last.
    pub fn names(&self) -> Vec<String> {
        let places = match &self.place {
            Place::Simulated => self.base.seats.len(),
            Place::Processes { ports, .. } => ports.len(),
        };
        let seats = self.base.seats.iter().take(places);
        seats.map(|seat| seat.name.clone()).collect()
    }

    /// The time since the beginning, the same on all hosts whatever their clocks say.
    pub fn now(&self) -> Duration {
        match &self.place {
            Place::Simulated => turmoil::sim_elapsed().unwrap_or_default(),
            Place::Processes { since, .. } => since.elapsed(),
        }
    }

    /// A new connection to a member, dialled when it is used.
    pub fn channel(&self, member: &str) -> Channel {
        match &self.place {
            Place::Simulated => simulated_channel(member),
            Place::Processes { ports, .. } => {
                let seats = self.base.seats.iter();
                let port = seats.zip(ports).find(|(seat, _)| seat.name == member);
                let port = port.map_or(0, |(_, port)| *port);
                Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
                    .unwrap()
                    .connect_timeout(Duration::from_secs(1))
                    .connect_lazy()
            }
        }
    }

    pub fn spare(&self) -> Spare {
        Spare {
            index: self.founders,
        }
    }

    /// Whether a place has been a member's from the beginning.
    pub fn is_founder(&self, index: usize) -> bool {
        index < self.founders
    }

    /// The spare place is to be taken by a new member.
    pub fn renew_spare(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub fn slowness(&self, index: usize) -> &'static Slowness {
        self.slowness[index]
    }

    /// A place's disk takes so long from now on.
    pub fn slow_disk(&self, index: usize, time: Duration) {
        self.slowness[index].set(time);
    }

    /// A place's clock is to jump ahead.
    pub fn jump(&self, index: usize, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or_default();
        self.jumps[index].store(millis, Ordering::SeqCst);
    }

    /// By how much a place's clock is to jump now.
    pub fn take_jump(&self, index: usize) -> Duration {
        Duration::from_millis(self.jumps[index].swap(0, Ordering::SeqCst))
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    pub fn set_audit(&self, audit: Audit) {
        *self.audit.lock().unwrap() = Some(audit);
    }

    pub fn audit(&self) -> Option<Audit> {
        self.audit.lock().unwrap().clone()
    }

    /// The watchers may go: everything has been compared.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A seed for a part of the run, the same in every run of the same seed.
    pub fn seed_of(&self, part: &str) -> u64 {
        // FNV-1a: no key that differs from process to process.
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325 ^ self.base.seed);
        hash.write(part.as_bytes());
        hash.finish()
    }
}

struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The time of day in the simulation.
pub fn time_of_day() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000) + turmoil::sim_elapsed().unwrap_or_default()
}
