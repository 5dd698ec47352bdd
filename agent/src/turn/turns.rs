//! Where the uploading task learns whether it is to upload, and tells what it holds.

use std::sync::{Arc, Mutex, PoisonError};

use revkeep_schemas::Revision;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Holding, UploadPolicy};
use crate::head::HeadKeeper;

/// What is known of whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Whether the head was read, or cannot be.
    pub(super) known: bool,
    pub(super) uploads: bool,
    /// How far the vault reaches by another agent's word.
    pub(super) durable: Revision,
    /// Where the source is compacted, by the same word.
    pub(super) compact: Revision,
    /// The newest base in the vault, by another agent's word.
    pub(super) base: Revision,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It is uploaded.
    Upload,
    /// The vault has it.
    Covered,
}

/// Shared by the task that reads and writes the head, the one that uploads, and those that take bases.
#[derive(Debug)]
pub struct Turns {
    policy: UploadPolicy,
    view: watch::Sender<View>,
    holding: Mutex<Option<Holding>>,
    pub(super) held: Notify,
    /// What is held goes up now: the agent ends, or leaves the timeline.
    leaving: CancellationToken,
    /// The vault does not have what a head said.
    pub(super) lacking: CancellationToken,
}

impl Turns {
    /// Of an agent that has not read the head.
    #[must_use]
    pub fn new(policy: UploadPolicy) -> Arc<Self> {
        Arc::new(Self {
            policy,
            view: watch::Sender::new(View::default()),
            holding: Mutex::new(None),
            held: Notify::new(),
            leaving: CancellationToken::new(),
            lacking: CancellationToken::new(),
        })
    }

    /// Whether this agent uploads, and takes bases on the schedule.
    #[must_use]
    pub fn uploads(&self) -> bool {
        self.policy == UploadPolicy::Always || self.view.borrow().uploads
    }

    /// What the status calls it.
    #[must_use]
    pub fn role(&self) -> &'static str {
        let view = *self.view.borrow();
        match (self.uploads(), view.known) {
            (true, _) => "uploads",
            (false, true) => "follows",
            (false, false) => "unknown",
        }
    }

    pub(super) fn tell(&self, view: View) {
        self.view.send_if_modified(|known| {
            let changed = *known != view;
            *known = view;
            changed
        });
    }

    pub(super) fn view(&self) -> View {
        *self.view.borrow()
    }

    pub(super) fn holding(&self) -> Option<Holding> {
        *self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, first: Revision, last: Revision) {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if holding.is_none_or(|held| (held.first, held.last) != (first, last)) {
            *holding = Some(Holding {
                first,
                last,
                since: Instant::now(),
            });
            self.held.notify_one();
        }
    }

    fn let_go(&self) {
        *self.holding.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on everything that is not in the vault goes up.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Waits until it is clear what becomes of a segment.
    pub async fn wait(&self, head: &HeadKeeper, first: Revision, last: Revision) -> Leave {
        let mut view = self.view.subscribe();
        let mut wanted = head.wanted();
        loop {
            let now = *view.borrow_and_update();
            if now.durable >= last && !now.uploads {
                self.let_go();
                // What the source has compacted the other agent may have recorded as lost, and this is the only copy.
                return if first >= now.compact {
                    Leave::Covered
                } else {
                    Leave::Upload
                };
            }
            let asked = *wanted.borrow_and_update() >= first;
            if self.policy == UploadPolicy::Always
                || now.uploads
                || asked
                || self.leaving.is_cancelled()
            {
                self.let_go();
                return Leave::Upload;
            }
            self.hold(first, last);
            tokio::select! {
                // The sender is held by `self`.
                _ = view.changed() => {}
                Ok(()) = wanted.changed() => {}
                () = self.leaving.cancelled() => {}
            }
        }
    }

    /// Waits until this agent is to take the first base of a timeline, or another one has taken it; false then.
    pub async fn first_base(&self) -> bool {
        let mut view = self.view.subscribe();
        let decided = view.wait_for(|view| {
            self.policy == UploadPolicy::Always || view.uploads || view.base > Revision::ZERO
        });
        let decided = tokio::time::timeout(super::task::FIRST_BASE, decided).await;
        match decided {
            Ok(Ok(view)) => self.policy == UploadPolicy::Always || view.uploads,
            _ => true,
        }
    }

    /// The vault is not what was known of it.
    pub(crate) fn lacks(&self) {
        self.lacking.cancel();
    }

    /// Waits until it turns out that the vault does not have what a head said.
    pub async fn lacking(&self) {
        self.lacking.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_source_has_compacted_is_not_given_up_at_another_agents_word() {
        let head = HeadKeeper::new(Revision::ZERO, Revision::ZERO, Some(Revision(10)));
        let turns = Turns::new(UploadPolicy::One);
        let leave = |durable, compact| {
            turns.tell(View {
                known: true,
                durable: Revision(durable),
                compact: Revision(compact),
                ..View::default()
            });
            turns.wait(&head, Revision(11), Revision(20))
        };
        assert_eq!(leave(30, 5).await, Leave::Covered);
        assert_eq!(leave(30, 11).await, Leave::Covered);
        assert_eq!(leave(30, 15).await, Leave::Upload);
        assert_eq!(leave(30, 30).await, Leave::Upload);
    }
}
