//! Where blocking work runs.

use std::{io, thread};

use crate::{Result, StoreError};

/// Where blocking work runs: disk writes, syncs, whole files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// On threads made for it, so that the asynchronous ones never wait for a disk. For production.
    #[default]
    Threads,
    /// In place, on the caller's thread: nothing runs beside the simulation that a seed decides. For simulations.
    Inline,
}

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
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| StoreError::internal_from("blocking work did not finish", error)),
        }
    }

    /// Starts a thread of its own for work that lasts as long as the member; `None` with [`Executor::Inline`], where
    /// the caller does the work itself.
    pub fn thread<F>(self, name: &str, work: F) -> io::Result<Option<thread::JoinHandle<()>>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self {
            Self::Inline => Ok(None),
            Self::Threads => thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map(Some),
        }
    }
}
