//! The end of a member's part.

use std::sync::Arc;

use tokio::sync::watch;

use super::StopReason;
use crate::StoreError;

/// Tells everybody in the member that it has come to its end, and why. The first reason counts.
#[derive(Clone, Debug)]
pub(super) struct Stopper(Arc<watch::Sender<Option<StopReason>>>);

impl Stopper {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(super) fn stop(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                match &reason {
                    StopReason::Failed(error) => {
                        tracing::error!(%error, "the member must stop");
                    }
                    reason => tracing::info!(?reason, "the member stops"),
                }
                *current = Some(reason);
            }
            first
        });
    }

    pub(super) fn fail(&self, error: StoreError) {
        self.stop(StopReason::Failed(error));
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.borrow().is_some()
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
