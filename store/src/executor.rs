//! Where blocking work runs.

use std::{
    io, ptr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use crate::{Result, StoreError};

/// Where blocking work runs: disk writes, syncs, whole files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// On threads made for it, so that the asynchronous ones never wait for a disk. For production.
    #[default]
    Threads,
    /// In place, on the caller's thread: nothing runs beside the simulation that a seed decides. For simulations.
    Inline,
    /// As [`Executor::Inline`], after a while of the simulation's time: a slow disk.
    Slow(&'static Slowness),
}

/// How long blocking work takes in a simulation. Changes while it runs.
#[derive(Debug, Default)]
pub struct Slowness(AtomicU64);

impl Slowness {
    /// No time at all.
    pub const fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Work that begins from now on takes so long.
    pub fn set(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::SeqCst);
    }

    /// Waits for so long; not even for other tasks if work takes no time.
    pub async fn pass(&self) {
        let micros = self.0.load(Ordering::SeqCst);
        if micros > 0 {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}

impl PartialEq for Slowness {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl Eq for Slowness {}

impl Executor {
    /// Runs one blocking piece of work and answers with its result.
    ///
    /// Fails only when the runtime is stopping or the work has panicked.
    pub async fn run<T, F>(self, work: F) -> Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self {
            Self::Inline => Ok(work()),
            Self::Slow(slowness) => {
                slowness.pass().await;
                Ok(work())
            }
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| StoreError::internal_from("blocking work did not finish", error)),
        }
    }

    /// Starts a thread of its own for work that lasts as long as the member; `None` in simulations, where
    /// the caller does the work itself.
    pub fn thread<F>(self, name: &str, work: F) -> io::Result<Option<thread::JoinHandle<()>>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self {
            Self::Inline | Self::Slow(_) => Ok(None),
            Self::Threads => thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map(Some),
        }
    }
}
