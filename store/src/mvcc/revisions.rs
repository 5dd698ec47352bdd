//! The current revision, the compact revision, and the revisions that are being read.

use std::collections::BTreeMap;

use parking_lot::{Condvar, Mutex};

use crate::error::{Result, StoreError};

/// The revision of a store in which nothing was ever written.
pub(super) const FIRST_REVISION: i64 = 1;
/// The compact revision of a store that was never compacted.
pub(super) const NEVER_COMPACTED: i64 = -1;

/// The revisions of a store.
#[derive(Debug)]
pub(super) struct Revisions {
    state: Mutex<State>,
    unpinned: Condvar,
}

#[derive(Debug)]
struct State {
    current: i64,
    compact: i64,
    /// Revisions that are being read, and by how many.
    pins: BTreeMap<i64, usize>,
}

/// A revision that is being read: nothing that belongs to it is removed while this lives.
#[derive(Debug)]
pub(super) struct Pin<'a> {
    revisions: &'a Revisions,
    /// The revision that is read.
    pub(super) at: i64,
    /// The current revision when the read began.
    pub(super) current: i64,
    /// The compact revision when the read began.
    pub(super) compact: i64,
}

impl Revisions {
    pub(super) fn new(current: i64, compact: i64) -> Self {
        Self {
            state: Mutex::new(State {
                current,
                compact,
                pins: BTreeMap::new(),
            }),
            unpinned: Condvar::new(),
        }
    }

    pub(super) fn current(&self) -> i64 {
        self.state.lock().current
    }

    pub(super) fn compact(&self) -> i64 {
        self.state.lock().compact
    }

    pub(super) fn both(&self) -> (i64, i64) {
        let state = self.state.lock();
        (state.current, state.compact)
    }

    pub(super) fn set_current(&self, current: i64) {
        self.state.lock().current = current;
    }

    /// Keeps everybody from asking or telling the current revision; it is what is lent.
    #[cfg(test)]
    pub(super) fn hold(&self) -> parking_lot::MappedMutexGuard<'_, i64> {
        parking_lot::MutexGuard::map(self.state.lock(), |state| &mut state.current)
    }

    /// Starts anew, with a state that came from elsewhere.
    pub(super) fn reset(&self, current: i64, compact: i64) {
        let mut state = self.state.lock();
        state.current = current;
        state.compact = compact;
    }

    /// Pins a revision, 0 or less for the current one.
    ///
    /// # Errors
    /// etcd's for a revision that is compacted or not there yet. The compact revision itself can still be read.
    pub(super) fn pin(&self, revision: i64) -> Result<Pin<'_>> {
        let mut state = self.state.lock();
        let at = readable(revision, state.current, state.compact)?;
        *state.pins.entry(at).or_insert(0) += 1;
        Ok(Pin {
            revisions: self,
            at,
            current: state.current,
            compact: state.compact,
        })
    }

    /// Makes `at` the compact revision; returns the one before.
    ///
    /// # Errors
    /// etcd's for a revision that is compacted already, or not there yet.
    pub(super) fn advance_compact(&self, at: i64) -> Result<i64> {
        let mut state = self.state.lock();
        if at <= state.compact {
            return Err(StoreError::Compacted);
        }
        if at > state.current {
            return Err(StoreError::FutureRevision);
        }
        Ok(std::mem::replace(&mut state.compact, at))
    }

    /// Waits until nobody reads below `at`. It must be the compact revision, so that nobody can begin to.
    pub(super) fn wait_unpinned_below(&self, at: i64) {
        let mut state = self.state.lock();
        while state.pins.range(..at).next().is_some() {
            self.unpinned.wait(&mut state);
        }
    }
}

/// The revision that a request reads (etcd, `rangeKeys`).
pub(super) fn readable(revision: i64, current: i64, compact: i64) -> Result<i64> {
    if revision > current {
        return Err(StoreError::FutureRevision);
    }
    let at = if revision <= 0 { current } else { revision };
    if at < compact {
        return Err(StoreError::Compacted);
    }
    Ok(at)
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut state = self.revisions.state.lock();
        if let Some(readers) = state.pins.get_mut(&self.at) {
            *readers -= 1;
            if *readers == 0 {
                state.pins.remove(&self.at);
                self.revisions.unpinned.notify_all();
            }
        }
    }
}
