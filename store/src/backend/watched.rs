//! A disk's file, as redb takes it, and somebody who is told what is done to it.

use std::{
    fmt, io,
    ops::Bound,
    time::{Duration, Instant},
};

use redb::{BackendError, StorageBackend};

/// Is told what was done to a file.
pub(crate) trait Watcher: fmt::Debug + Send + Sync + 'static {
    /// Bytes were written, the last of them before `end`.
    fn wrote(&self, _end: u64) {}

    /// The file has a new length.
    fn resized(&self, _len: u64) {}

    /// A sync has ended, well or not, after this time.
    fn synced(&self, _took: Duration) {}
}

/// Nobody.
impl Watcher for () {}

/// A disk's file. redb wants a type it knows, where a [`super::Disk`] gives any.
#[derive(Debug)]
pub(crate) struct Watched<W> {
    pub(crate) file: Box<dyn StorageBackend>,
    pub(crate) watcher: W,
}

impl<W: Watcher> StorageBackend for Watched<W> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watcher.resized(len);
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let start = Instant::now();
        let synced = self.file.sync_data();
        self.watcher.synced(start.elapsed());
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watcher.wrote(offset.saturating_add(data.len() as u64));
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
