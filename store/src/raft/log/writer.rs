//! The only hand that writes the log.

use std::{
    fmt, io,
    sync::{Arc, OnceLock, mpsc},
    thread,
};

use parking_lot::Mutex;

use super::{Change, LogFile};
use crate::{
    Result, StoreError,
    executor::{Executor, Slowness},
};

/// Told once the change is durable, or why it never will be.
type Done = Box<dyn FnOnce(Result<()>) + Send>;

struct Job {
    changes: Vec<Change>,
    done: Done,
}

/// Makes changes durable in the order in which they come; all that wait share one synced commit.
pub(super) struct Writer {
    file: Arc<LogFile>,
    /// The first failure. Nothing is written after it: the disk's content is then unknown.
    failure: Arc<OnceLock<StoreError>>,
    hand: Hand,
}

enum Hand {
    /// Changes are written in place.
    Caller,
    /// A task of the simulation writes them.
    Task(tokio::sync::mpsc::UnboundedSender<Job>),
    Thread(Thread),
}

struct Thread {
    jobs: Option<mpsc::Sender<Job>>,
    handle: Mutex<Option<thread::JoinHandle<()>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("file", &self.file)
            .field("failure", &self.failure.get())
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(file: Arc<LogFile>, executor: Executor) -> io::Result<Self> {
        let failure = Arc::new(OnceLock::new());
        if let Executor::Slow(slowness) = executor {
            return Ok(Self::slow(file, slowness));
        }
        let (jobs, waiting) = mpsc::channel::<Job>();
        let handle = executor.thread("log", {
            let (file, failure) = (Arc::clone(&file), Arc::clone(&failure));
            move || {
                while let Ok(first) = waiting.recv() {
                    let mut together = vec![first];
                    together.extend(waiting.try_iter());
                    write(&file, &failure, together);
                }
            }
        })?;
        let hand = match handle {
            Some(handle) => Hand::Thread(Thread {
                jobs: Some(jobs),
                handle: Mutex::new(Some(handle)),
            }),
            None => Hand::Caller,
        };
        Ok(Self {
            file,
            failure,
            hand,
        })
    }

    fn slow(file: Arc<LogFile>, slowness: &'static Slowness) -> Self {
        let failure = Arc::new(OnceLock::new());
        let (jobs, mut waiting) = tokio::sync::mpsc::unbounded_channel::<Job>();
        tokio::spawn({
            let (file, failure) = (Arc::clone(&file), Arc::clone(&failure));
            async move {
                while let Some(first) = waiting.recv().await {
                    let mut together = vec![first];
                    while let Ok(next) = waiting.try_recv() {
                        together.push(next);
                    }
                    slowness.pass().await;
                    write(&file, &failure, together);
                }
            }
        });
        Self {
            file,
            failure,
            hand: Hand::Task(jobs),
        }
    }

    /// Makes the changes durable, then calls `done`.
    pub(super) fn submit(
        &self,
        changes: Vec<Change>,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let job = Job {
            changes,
            done: Box::new(done),
        };
        let refused = match &self.hand {
            Hand::Caller => return write(&self.file, &self.failure, vec![job]),
            Hand::Task(jobs) => jobs.send(job).err().map(|refused| refused.0),
            Hand::Thread(Thread { jobs: None, .. }) => Some(job),
            Hand::Thread(Thread {
                jobs: Some(jobs), ..
            }) => jobs.send(job).err().map(|refused| refused.0),
        };
        if let Some(job) = refused {
            (job.done)(Err(StoreError::Stopped));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Hand::Thread(thread) = &mut self.hand else {
            return;
        };
        thread.jobs = None;
        let Some(handle) = thread.handle.lock().take() else {
            return;
        };
        // The last owner may be the thread itself, by a callback it was dropping.
        if handle.thread().id() != thread::current().id() {
            // A panic there has been reported by the hook.
            let _ = handle.join();
        }
    }
}

fn write(file: &LogFile, failure: &OnceLock<StoreError>, jobs: Vec<Job>) {
    let result = match failure.get() {
        Some(error) => Err(error.clone()),
        None => file.commit(jobs.iter().flat_map(|job| &job.changes)),
    };
    if let Err(error) = &result {
        // Only the first one counts.
        let _ = failure.set(error.clone());
    }
    for job in jobs {
        (job.done)(result.clone());
    }
}
