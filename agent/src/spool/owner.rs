//! One owner of a folder at a time, within this process: what opens a folder removes what an interrupted write left there,
//! and counts on every file to stay that it does not remove itself. Another process is kept out by the lock of the state
//! directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Locks = HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>;

static LOCKS: LazyLock<Mutex<Locks>> = LazyLock::new(Mutex::default);

/// Whoever has this is the only one who writes into the folder, and removes from it.
#[derive(Debug)]
pub struct Owner {
    _lock: OwnedMutexGuard<()>,
}

fn lock_of(folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
    // An entry is whole before anything could panic.
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(locks.entry(folder.to_path_buf()).or_default())
}

impl Owner {
    /// Waits until nobody owns the folder.
    pub async fn of(folder: &Path) -> Self {
        let lock = lock_of(folder);
        if let Ok(owner) = Arc::clone(&lock).try_lock_owned() {
            return Self { _lock: owner };
        }
        tracing::info!(folder = %folder.display(), "the session before still has this folder: waiting for it");
        Self {
            _lock: lock.lock_owned().await,
        }
    }

    /// The owner, if nobody else is.
    #[must_use]
    pub fn try_of(folder: &Path) -> Option<Self> {
        let owner = lock_of(folder).try_lock_owned().ok()?;
        Some(Self { _lock: owner })
    }
}
