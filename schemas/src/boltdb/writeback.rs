//! Brings what was written to the disk while more is being written.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// The disk gets to work each time so many bytes were written.
const STEP_BYTES: u64 = 32 << 20;

/// A thread that syncs a growing file now and then. Left alone, the operating system gathers a file of a few GiB in
/// memory and writes it at the final sync, with all processors waiting; so the disk works from the start, the final
/// sync finds little to do, and pages that wait for the disk stay few. The thread starts with the first step, so a
/// small file has none.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    unsynced_bytes: u64,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writeback {
    /// Notes that `bytes` more were written to `file`, always the same one.
    ///
    /// # Errors
    /// That of a sync that failed. It is given once: what was written is lost then.
    pub(super) fn wrote(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.unsynced_bytes += bytes;
        if self.unsynced_bytes < STEP_BYTES {
            return Ok(());
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(file.try_clone()?)?,
        };
        match worker.wake.try_send(()) {
            Ok(()) => self.unsynced_bytes = 0,
            // The disk is behind: ask again after the next write.
            Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => return worker.finish(),
        }
        self.worker = Some(worker);
        Ok(())
    }

    /// Waits for the thread. A sync reports an error of the disk only once, so the final sync alone would not do.
    ///
    /// # Errors
    /// That of a sync that failed.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.worker.take().map_or(Ok(()), Worker::finish)
    }
}

impl Worker {
    fn start(file: File) -> io::Result<Self> {
        let (wake, asked): (_, Receiver<()>) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("writeback".to_owned())
            .spawn(move || asked.iter().try_for_each(|()| file.sync_data()))?;
        Ok(Self { wake, thread })
    }

    fn finish(self) -> io::Result<()> {
        drop(self.wake);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that syncs the file panicked")))
    }
}

/// An unfinished file is dropped with its thread: whoever deletes it must not meet a sync that still runs.
impl Drop for Writeback {
    fn drop(&mut self) {
        let _worthless = self.finish();
    }
}
