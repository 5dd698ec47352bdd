//! What outlives a host's crash.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use revkeep_schemas::member::ids;
use revkeep_store::{backend::MemoryDisk, executor::Slowness, raft::PeerMember};
use tempfile::TempDir;

use super::{History, JournalStore};

/// The port on which members listen to each other.
pub const PEER_PORT: u16 = 2380;

/// A member's place: its name and addresses, and what its machine keeps when the power goes.
pub struct Seat {
    pub index: usize,
    pub name: String,
    pub id: u64,
    pub peer_url: String,
    disk: Mutex<MemoryDisk>,
    /// How long its disk takes where the executor is slow.
    pub slowness: &'static Slowness,
    pub journal: Arc<JournalStore>,
    pub scratch: TempDir,
    starts: AtomicU64,
    stopped: AtomicBool,
    is_founder: bool,
}

impl Seat {
    /// The disk as it is now.
    pub fn disk(&self) -> MemoryDisk {
        self.disk.lock().unwrap().clone()
    }

    /// The power goes: what was not synced is lost, torn or kept, as the seed decides.
    pub fn cut_power(&self, seed: u64) {
        let mut disk = self.disk.lock().unwrap();
        let next = disk.crash(seed);
        *disk = next;
        self.stopped.store(false, Ordering::SeqCst);
    }

    /// The machine is replaced by a new one with an empty disk.
    pub fn replace_disk(&self) {
        *self.disk.lock().unwrap() = MemoryDisk::new();
    }

    /// Counts a start and returns its number, from 1.
    pub fn start(&self) -> u64 {
        self.stopped.store(false, Ordering::SeqCst);
        self.starts.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::SeqCst)
    }

    /// The member has ended its part, as one does whose disk failed.
    pub fn set_stopped(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub fn member(&self) -> PeerMember {
        PeerMember {
            id: self.id,
            name: self.name.clone(),
            peer_urls: vec![self.peer_url.clone()],
            learner: false,
        }
    }
}

/// Everything that outlives a crash, and what the judge needs.
pub struct World {
    pub seed: u64,
    pub cluster_id: u64,
    pub seats: Vec<Seat>,
    quiet: AtomicBool,
    history: Mutex<History>,
}

impl World {
    pub fn new(seed: u64, members: usize, founders: usize) -> Arc<Self> {
        let seats: Vec<Seat> = (0..members)
            .map(|index| {
                let name = format!("m{index}");
                let peer_url = format!("http://{name}:{PEER_PORT}");
                Seat {
                    index,
                    id: ids::member_id(std::slice::from_ref(&peer_url), "simulation"),
                    peer_url,
                    name,
                    disk: Mutex::default(),
                    slowness: Box::leak(Box::default()),
                    journal: Arc::default(),
                    scratch: tempfile::tempdir().unwrap(),
                    starts: AtomicU64::new(0),
                    stopped: AtomicBool::new(false),
                    is_founder: index < founders,
                }
            })
            .collect();
        let founding: Vec<u64> = seats.iter().take(founders).map(|seat| seat.id).collect();
        Arc::new(Self {
            seed,
            cluster_id: ids::cluster_id(&founding),
            seats,
            quiet: AtomicBool::new(false),
            history: Mutex::default(),
        })
    }

    /// The members that a seat is started with: all founders, or nobody for one that joins.
    pub fn founders(&self, index: usize) -> Vec<PeerMember> {
        if !self.seats[index].is_founder {
            return Vec::new();
        }
        let founders = self.seats.iter().filter(|seat| seat.is_founder);
        founders.map(Seat::member).collect()
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// Clients stop.
    pub fn be_quiet(&self) {
        self.quiet.store(true, Ordering::SeqCst);
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }
}
