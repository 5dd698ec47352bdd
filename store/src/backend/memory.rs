//! A disk in memory that fails when it is told to.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redb::StorageBackend;

use super::Disk;

/// What a device writes in one piece: a torn write ends at a multiple of it.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk. For tests and simulations: it forgets what was not synced when
/// [`crash`](Self::crash) cuts its power, and fails as its [`Faults`] say.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Arc<Mutex<Content>>>>>,
    faults: Arc<Faults>,
}

/// The failures of a [`MemoryDisk`], set while it is in use.
#[derive(Debug, Default)]
pub struct Faults {
    powered_off: AtomicBool,
    syncs_until_failure: AtomicU64,
    writes_until_failure: AtomicU64,
    capacity_bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Faults {
    /// Lets the nth sync from now, and every later one, fail: 1 is the next. 0 lets none fail.
    pub fn fail_sync_from(&self, nth: u64) {
        self.syncs_until_failure.store(nth, Ordering::SeqCst);
    }

    /// Lets the nth write from now, and every later one, fail: 1 is the next. 0 lets none fail.
    pub fn fail_write_from(&self, nth: u64) {
        self.writes_until_failure.store(nth, Ordering::SeqCst);
    }

    /// Bounds the bytes of all files; 0 for no bound. What would grow past it fails with `StorageFull`.
    pub fn limit_bytes(&self, capacity: u64) {
        self.capacity_bytes.store(capacity, Ordering::SeqCst);
    }

    /// How many syncs have succeeded.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    fn powered(&self) -> io::Result<()> {
        if self.powered_off.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk has lost its power"));
        }
        Ok(())
    }

    /// Counts down; an error once 1 has been reached.
    fn count(counter: &AtomicU64, what: &str) -> io::Result<()> {
        let before = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            (left > 1).then(|| left - 1)
        });
        match before {
            Err(1) => Err(io::Error::other(format!("a fault was asked for: {what}"))),
            _ => Ok(()),
        }
    }
}

/// A file: what reads see, what survives, and what lies between.
#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

impl Content {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.play(&mut self.durable);
        }
    }
}

impl Change {
    fn play(&self, onto: &mut Vec<u8>) {
        match self {
            Self::Resize(len) => onto.resize(*len, 0),
            Self::Write { offset, bytes } => write_at(onto, *offset, bytes),
        }
    }

    /// What of it is left when the power goes: all, nothing, or the sectors in front.
    fn survive(&self, onto: &mut Vec<u8>, random: &mut StdRng) {
        match (random.random_range(0..3), self) {
            (0, _) => {}
            (1, Self::Write { offset, bytes }) => {
                let sectors = random.random_range(0..=bytes.len() / SECTOR_BYTES);
                let torn = bytes.get(..sectors * SECTOR_BYTES).unwrap_or_default();
                write_at(onto, *offset, torn);
            }
            _ => self.play(onto),
        }
    }
}

fn write_at(onto: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if onto.len() < end {
        onto.resize(end, 0);
    }
    if let Some(place) = onto.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl MemoryDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Cuts the power: every handle of this disk fails from now on. Returns the disk as the next start finds it, without
    /// faults: all that was synced, and of the rest what `seed` decides, write by write: whole, torn or lost.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let files = self.files.lock();
        self.faults.powered_off.store(true, Ordering::SeqCst);
        let survivors = files.iter().map(|(name, content)| {
            let content = content.lock();
            let mut durable = content.durable.clone();
            for change in &content.unsynced {
                change.survive(&mut durable, &mut random);
            }
            let content = Content {
                seen: durable.clone(),
                durable,
                unsynced: Vec::new(),
            };
            (name.clone(), Arc::new(Mutex::new(content)))
        });
        Self {
            files: Arc::new(Mutex::new(survivors.collect())),
            faults: Arc::default(),
        }
    }

    /// Flips one bit of a file, as a device that lies would. Returns whether the file has that byte.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) -> bool {
        let Some(content) = self.files.lock().get(name).cloned() else {
            return false;
        };
        let mut content = content.lock();
        let Content { seen, durable, .. } = &mut *content;
        let mut flipped = false;
        for copy in [seen, durable] {
            if let Some(byte) = copy.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
                flipped = true;
            }
        }
        flipped
    }

    /// The bytes of a file as reads see them, or `None` when it is absent.
    pub fn file_len(&self, name: &str) -> Option<usize> {
        let files = self.files.lock();
        files.get(name).map(|content| content.lock().seen.len())
    }

    /// The bytes of all files as reads see them.
    pub fn used_bytes(&self) -> u64 {
        let files = self.files.lock();
        let lens = files
            .values()
            .map(|content| content.lock().seen.len() as u64);
        lens.sum()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("files", &self.files.lock().keys().collect::<Vec<_>>())
            .field("faults", &self.faults)
            .finish()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        self.faults.powered()?;
        let content = Arc::clone(self.files.lock().entry(name.to_owned()).or_default());
        Ok(Box::new(MemoryFile {
            disk: self.clone(),
            content,
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.faults.powered()?;
        Ok(self.files.lock().contains_key(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.powered()?;
        let mut files = self.files.lock();
        let content = files
            .remove(from)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        files.insert(to.to_owned(), content);
        // The folder's, after which the name is durable; without it, it may be or may not.
        Faults::count(&self.faults.syncs_until_failure, "sync of the folder")
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.powered()?;
        self.files.lock().remove(name);
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }
}

/// An open file.
#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    content: Arc<Mutex<Content>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.seen.len())
            .field("unsynced", &self.unsynced.len())
            .finish_non_exhaustive()
    }
}

impl MemoryFile {
    fn room_for(&self, len: usize) -> io::Result<()> {
        let capacity = self.disk.faults.capacity_bytes.load(Ordering::SeqCst);
        let own = self.content.lock().seen.len();
        let more = len.saturating_sub(own) as u64;
        if capacity > 0 && more > 0 && self.disk.used_bytes() + more > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn in_memory(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

impl StorageBackend for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.faults.powered()?;
        Ok(self.content.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.faults.powered()?;
        let offset = in_memory(offset)?;
        let content = self.content.lock();
        let bytes = offset
            .checked_add(out.len())
            .and_then(|end| content.seen.get(offset..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.faults.powered()?;
        let len = in_memory(len)?;
        self.room_for(len)?;
        let mut content = self.content.lock();
        content.seen.resize(len, 0);
        content.unsynced.push(Change::Resize(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let faults = &self.disk.faults;
        faults.powered()?;
        Faults::count(&faults.syncs_until_failure, "sync")?;
        self.content.lock().sync();
        faults.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let faults = &self.disk.faults;
        faults.powered()?;
        Faults::count(&faults.writes_until_failure, "write")?;
        let offset = in_memory(offset)?;
        self.room_for(offset.saturating_add(data.len()))?;
        let mut content = self.content.lock();
        write_at(&mut content.seen, offset, data);
        content.unsynced.push(Change::Write {
            offset,
            bytes: data.to_vec(),
        });
        Ok(())
    }
}
