//! Whether what was remembered of the vault is all that it holds.
//!
//! A start while the store is away goes on from what an earlier process remembered, which may be some seconds old, and knows
//! nothing of segments beyond a hole. They are evidence: a source that was set back below them would be taken for the same
//! one, and what it has written since would go up into the old timeline. So nothing goes up, and nothing is called lost, before
//! the store has answered and was listed. Where it holds more than was remembered, the vault is opened again, and the
//! source is compared with all of it ([`crate::lineage`]); what was captured meanwhile waits in the spool.

use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_vault::Newest;
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::status::Monitor;
use crate::target::Target;

/// The longest wait between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// Shared by all who would write into the vault.
#[derive(Debug)]
pub struct Proof {
    holds: watch::Sender<Option<bool>>,
}

/// What was remembered of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// The newest base.
    pub(crate) base: Revision,
    /// How far it reached.
    pub(crate) durable: Revision,
}

impl Basis {
    /// Whether the vault holds no more than that.
    fn is_all_of(self, newest: Option<&Newest>) -> bool {
        newest.is_some_and(|newest| {
            newest.base.facts.revision <= self.base
                && newest.cursor <= self.durable
                && newest.beyond.is_empty()
        })
    }
}

impl Proof {
    /// Of a vault that was listed.
    #[must_use]
    pub fn given() -> Arc<Self> {
        Arc::new(Self {
            holds: watch::Sender::new(Some(true)),
        })
    }

    /// Of one that is remembered.
    pub(crate) fn wanted() -> Arc<Self> {
        Arc::new(Self {
            holds: watch::Sender::new(None),
        })
    }

    /// Whether it is known already.
    pub(crate) fn is_known(&self) -> bool {
        self.holds.borrow().is_some()
    }

    /// Waits until it is known; false where the vault holds more than was remembered.
    pub async fn holds(&self) -> bool {
        let mut holds = self.holds.subscribe();
        // The sender is held by `self`.
        let known = holds.wait_for(Option::is_some).await;
        known.is_ok_and(|known| *known == Some(true))
    }

    /// Lists the vault as soon as the store answers; gives what it found.
    pub(crate) async fn seek(&self, target: &Target, basis: Basis, monitor: &Monitor) -> bool {
        let mut backoff = Backoff::new(RETRY_LIMIT);
        let newest = loop {
            match target.timeline.newest().await {
                Ok(newest) => break newest,
                Err(error) => {
                    tracing::debug!(%error, "the vault was not listed yet");
                    monitor.vault_failed(&error);
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        };
        monitor.vault_answers();
        let holds = basis.is_all_of(newest.as_ref());
        if !holds {
            tracing::info!(
                remembered = %basis.durable,
                cursor = newest.as_ref().map(|newest| newest.cursor.0),
                "the object store is back, and the vault holds more than was remembered: it is opened again"
            );
        }
        self.holds.send_replace(Some(holds));
        holds
    }
}

#[cfg(test)]
mod tests;
