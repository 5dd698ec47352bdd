//! Who waits for which command.

use std::collections::HashMap;

use parking_lot::Mutex;
use revkeep_schemas::store_api::Proposal;
use tokio::sync::oneshot;

/// Who waits for which command, by the command's id. The member that proposed a command answers its client when it
/// applies it, so outcomes never travel.
#[derive(Debug)]
pub(super) struct Waiters<O> {
    waiting: Mutex<HashMap<u64, oneshot::Sender<O>>>,
}

impl<O> Default for Waiters<O> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }
}

impl<O> Waiters<O> {
    /// Notes who waits, before the commands leave; but not who has gone, for nobody would remove it.
    pub(super) fn add(&self, new: impl Iterator<Item = (u64, oneshot::Sender<O>)>) {
        // Whoever goes from now on removes itself once the lock is free.
        let mut waiting = self.waiting.lock();
        waiting.extend(new.filter(|(_, waiter)| !waiter.is_closed()));
    }

    /// Somebody no longer waits, or has the outcome.
    pub(super) fn remove(&self, id: u64) {
        self.waiting.lock().remove(&id);
    }

    /// Whether anybody still waits for one of these.
    pub(super) fn has_any(&self, mut ids: impl Iterator<Item = u64>) -> bool {
        let waiting = self.waiting.lock();
        ids.any(|id| waiting.contains_key(&id))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Hands the outcomes of an entry's commands to those who wait for them here.
    pub(super) fn answer(&self, commands: &[Proposal], outcomes: Vec<O>) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        for (command, outcome) in commands.iter().zip(outcomes) {
            if let Some(waiter) = waiting.remove(&command.id) {
                // Its client may have gone.
                let _ = waiter.send(outcome);
            }
        }
    }
}
