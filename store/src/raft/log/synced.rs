//! How far the log is on this member's disk.

use tokio::sync::watch;

use crate::{Result, StoreError, raft::stop::Stopper};

/// How far the log is on this member's disk.
///
/// A leader sends entries to the others while it still writes them (Ongaro's thesis, section 10.2.1), but the consensus
/// library waits for an append before it does anything else. So it is told at once that a leader's append is done, and what
/// it then takes for agreed on is so only when it is on this disk too: whoever acts on it or says it to others
/// [waits](Self::reached) for that.
#[derive(Debug)]
pub(in crate::raft) struct Synced {
    upto: watch::Sender<u64>,
    stopper: Stopper,
}

impl Synced {
    pub(super) fn new(upto: u64, stopper: Stopper) -> Self {
        Self {
            upto: watch::Sender::new(upto),
            stopper,
        }
    }

    /// The index of the last entry that is on the disk.
    pub(super) fn upto(&self) -> u64 {
        *self.upto.borrow()
    }

    /// The last entry on the disk is another one now.
    pub(super) fn set(&self, upto: u64) {
        self.upto.send_replace(upto);
    }

    /// Waits until the entry is on the disk. Fails when the member stops before.
    pub(in crate::raft) async fn reached(&self, index: u64) -> Result<()> {
        if self.upto() >= index {
            return Ok(());
        }
        let mut upto = self.upto.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as `self`.
            _ = upto.wait_for(|upto| *upto >= index) => Ok(()),
            () = self.stopper.stopped() => Err(StoreError::Stopped),
        }
    }
}
