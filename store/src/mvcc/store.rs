//! The store.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};

use super::{
    CompactionMode, RevisionEvents, compact::Compactor, hash::CompactionHashes, index::KeyTree,
    revisions::Revisions,
};
use crate::{
    backend::{Backend, Position},
    error::Result,
    lease::LeaseState,
};

/// How the store works.
#[derive(Clone, Copy, Debug)]
pub struct MvccOptions {
    /// The least TTL of a lease, in seconds; shorter ones are lengthened. All members must agree.
    pub min_lease_ttl_s: i64,
    /// Who removes compacted rows.
    pub compaction: CompactionMode,
}

impl Default for MvccOptions {
    fn default() -> Self {
        Self {
            // Of etcd's default election timeout, 1 s: one and a half of it, rounded up.
            min_lease_ttl_s: 2,
            compaction: CompactionMode::Thread,
        }
    }
}

/// The multi-version store of a member.
///
/// Writers (`put`, `delete_range`, `txn`, `compact`, `revoke_lease`, `install`) come one at a time, in the order of the
/// log; the caller then sets the backend's position. Everything else is for any thread at any time.
#[derive(Debug)]
pub struct Mvcc {
    pub(super) backend: Arc<Backend>,
    pub(super) options: MvccOptions,
    pub(super) index: RwLock<KeyTree>,
    pub(super) revisions: Revisions,
    pub(super) leases: LeaseState,
    pub(super) events: Mutex<Vec<RevisionEvents>>,
    pub(super) hashes: CompactionHashes,
    pub(super) compactor: Compactor,
    /// Held for reading by who reads more than one thing, for writing while a snapshot takes the state's place.
    pub(super) installing: RwLock<()>,
    pub(super) this: OnceLock<Weak<Self>>,
}

impl Mvcc {
    /// Reads the rows once to know the keys, and goes on with a compaction that was interrupted.
    ///
    /// # Errors
    /// [`StoreError::Damaged`](crate::StoreError::Damaged) for rows that cannot be read.
    pub fn open(backend: Arc<Backend>, options: MvccOptions) -> Result<Arc<Self>> {
        let loaded = super::load::load(&backend, options.min_lease_ttl_s)?;
        let store = Arc::new(Self {
            index: RwLock::new(loaded.index),
            revisions: Revisions::new(loaded.current, loaded.compact),
            leases: loaded.leases,
            events: Mutex::default(),
            hashes: CompactionHashes::default(),
            compactor: Compactor::default(),
            installing: RwLock::new(()),
            this: OnceLock::new(),
            backend,
            options,
        });
        // Set once, here.
        let _ = store.this.set(Arc::downgrade(&store));
        store.resume_compaction(loaded.scheduled)?;
        Ok(store)
    }

    /// What it is kept in.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The leases, and which keys hang on them.
    pub fn leases(&self) -> &LeaseState {
        &self.leases
    }

    /// The current revision: that of the last transaction that changed anything.
    pub fn revision(&self) -> i64 {
        self.revisions.current()
    }

    /// The revision of the last compaction, -1 when there was none. What was there at this revision can still be read.
    pub fn compact_revision(&self) -> i64 {
        self.revisions.compact()
    }

    /// The number of keys in the index, those included that were deleted and not compacted yet.
    pub fn indexed_keys(&self) -> usize {
        self.index.read().len()
    }

    /// Flushes the backend; with [`CompactionMode::OnFlush`] it then finishes the compactions that wait.
    ///
    /// # Errors
    /// See [`Backend::flush`].
    pub fn flush(&self) -> Result<Position> {
        let durable = self.backend.flush()?;
        if self.options.compaction == CompactionMode::OnFlush {
            self.run_compactions()?;
        }
        Ok(durable)
    }

    /// Puts an etcd db file in the place of everything: a snapshot from another member, or a restored one. Readers wait;
    /// the events that were not taken are forgotten.
    ///
    /// `at` is the position of the file's content with Raft's own bytes; without it the file's own position counts.
    ///
    /// # Errors
    /// [`StoreError::Damaged`](crate::StoreError::Damaged) for a file that is not sound; the old state is in force then.
    pub fn install(
        &self,
        file: &std::path::Path,
        at: Option<(Position, Option<bytes::Bytes>)>,
    ) -> Result<()> {
        self.compactor
            .pause(|| {
                let _installing = self.installing.write();
                crate::snapshot::import(&self.backend, file, at)?;
                let loaded = super::load::load(&self.backend, self.options.min_lease_ttl_s)?;
                *self.index.write() = loaded.index;
                self.leases.replace(loaded.leases);
                self.revisions.reset(loaded.current, loaded.compact);
                self.events.lock().clear();
                self.hashes.clear();
                Ok(loaded.scheduled)
            })
            .and_then(|scheduled| self.resume_compaction(scheduled))
    }
}
