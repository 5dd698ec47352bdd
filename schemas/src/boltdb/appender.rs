//! Writes a new file from front to back, on a thread of its own.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::writeback::Writeback;

/// Bytes of a write: few enough to be in the processor's cache still when the system copies them.
pub(super) const WRITE_BYTES: usize = 256 << 10;
/// Writes that wait for the thread. One more is being done, and the next is being gathered.
const MOST_WAITING: usize = 4;

/// Appends to a file while the caller gathers what comes next: for the operating system a write is as much work as
/// making its content was for us. The thread starts with the first full write, so a small file has none.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    full: SyncSender<Vec<u8>>,
    /// What was written, to be filled again.
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<Writeback>>,
}

impl Appender {
    /// Appends to this file, into which nobody else writes meanwhile.
    pub(super) const fn new(file: File) -> Self {
        Self { file, worker: None }
    }

    /// The file.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Takes a full buffer and gives an empty one for it.
    ///
    /// # Errors
    /// That of a write or a sync, of this buffer or one before. What the file then holds is worthless.
    pub(super) fn append(&mut self, full: Vec<u8>) -> io::Result<Vec<u8>> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(self.file.try_clone()?)?,
        };
        if worker.full.send(full).is_err() {
            // The thread ends before it is told to only by an error.
            worker.finish()?;
            return Err(io::Error::other("the thread that writes the file is gone"));
        }
        let empty = worker.empty.try_recv();
        self.worker = Some(worker);
        Ok(empty.unwrap_or_else(|_| Vec::with_capacity(WRITE_BYTES)))
    }

    /// Appends the rest and waits until all is written. What syncs the file goes on.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub(super) fn finish(&mut self, rest: &[u8]) -> io::Result<Writeback> {
        let writeback = match self.worker.take() {
            Some(worker) => worker.finish()?,
            None => Writeback::default(),
        };
        self.file.write_all(rest)?;
        Ok(writeback)
    }
}

impl Worker {
    fn start(file: File) -> io::Result<Self> {
        let (full, filled) = sync_channel(MOST_WAITING);
        let (emptied, empty) = channel();
        let thread = thread::Builder::new()
            .name("append".to_owned())
            .spawn(move || write(file, &filled, &emptied))?;
        Ok(Self {
            full,
            empty,
            thread,
        })
    }

    fn finish(self) -> io::Result<Writeback> {
        drop(self.full);
        let panicked = |_| io::Error::other("the thread that writes the file panicked");
        self.thread.join().map_err(panicked)?
    }
}

fn write(
    mut file: File,
    filled: &Receiver<Vec<u8>>,
    emptied: &Sender<Vec<u8>>,
) -> io::Result<Writeback> {
    let mut writeback = Writeback::default();
    for mut buffer in filled {
        file.write_all(&buffer)?;
        writeback.wrote(&file, buffer.len() as u64)?;
        buffer.clear();
        // Nobody takes it where the file is given up.
        let _unwanted = emptied.send(buffer);
    }
    Ok(writeback)
}

/// An unfinished file is dropped with its thread: whoever deletes it must not meet a write that still runs.
impl Drop for Appender {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            let _worthless = worker.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_appended_is_there_in_order_and_buffers_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut appender = Appender::new(File::create_new(&path).unwrap());
        let mut buffer = Vec::new();
        for step in 0..40 {
            buffer.resize(WRITE_BYTES, step);
            buffer = appender.append(buffer).unwrap();
            assert!(buffer.is_empty());
        }
        appender.finish(&[40; 3]).unwrap();
        let written = fs::read(&path).unwrap();
        assert_eq!(written.len(), 40 * WRITE_BYTES + 3);
        let mut pieces = written.chunks(WRITE_BYTES).zip(0..);
        assert!(pieces.all(|(piece, step)| piece.iter().all(|byte| *byte == step)));
    }

    #[test]
    fn a_write_that_fails_is_told_by_one_of_the_next_calls() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let unwritable = || Appender::new(File::open(&path).unwrap());
        let mut appender = unwritable();
        let mut taken = (0..MOST_WAITING + 2).map(|_| appender.append(vec![7; WRITE_BYTES]));
        assert!(taken.any(|taken| taken.is_err()));
        let mut appender = unwritable();
        appender.append(vec![7; WRITE_BYTES]).unwrap();
        appender.finish(&[]).unwrap_err();
        drop(unwritable().append(vec![7; WRITE_BYTES]));
        assert!(fs::read(&path).unwrap().is_empty());
    }
}
