//! The end of a member's part.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use super::StopReason;
use crate::StoreError;

/// Tells everybody in the member that it has come to its end, and why. The first reason counts.
#[derive(Clone, Debug)]
pub(super) struct Stopper(Arc<watch::Sender<Option<StopReason>>>, Arc<AtomicBool>);

impl Stopper {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)), Arc::default())
    }

    pub(super) fn stop(&self, reason: StopReason) {
        // Whoever was told of the first reason may still look at it; a second one must not wait for that.
        if self.1.swap(true, Ordering::AcqRel) {
            return;
        }
        match &reason {
            StopReason::Failed(error) => tracing::error!(%error, "the member must stop"),
            reason => tracing::info!(?reason, "the member stops"),
        }
        self.0.send_replace(Some(reason));
    }

    pub(super) fn fail(&self, error: StoreError) {
        self.stop(StopReason::Failed(error));
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<StopReason>> {
        self.0.subscribe()
    }

    /// Returns once there is a reason.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}
