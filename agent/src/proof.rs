//! Whether what was remembered of the vault is all that it holds.
//!
//! A start while the store is away goes on from what an earlier process remembered, which may be some seconds old, and knows
//! nothing of segments beyond a hole. They are evidence: a source that was set back below them would be taken for the same
//! one, and what it has written since would go up into the old timeline. So nothing goes up, and nothing is called lost, before
//! the store has answered and was listed. Where it does not hold just what was remembered, the vault is opened again, and the
//! source is compared with all of it ([`crate::lineage`]); what was captured meanwhile waits in the spool. It may hold more, of
//! the last seconds or by other agents. It may hold less: what was captured wrongly is recorded as such and counts no more, and
//! what is called durable has to be there.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::{FormatError, Revision};
use revkeep_vault::{ErrorKind, Newest, VaultError};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::open::STORE_PATIENCE;
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
    /// Whether the vault holds that and no more.
    fn is_all_of(self, newest: Option<&Newest>) -> bool {
        newest.is_some_and(|newest| {
            newest.base.facts.revision <= self.base
                && newest.cursor == self.durable
                && newest.beyond.is_empty()
                && newest.distrusted.is_empty()
        })
    }
}

/// Whether it may be listed later, by itself or when somebody grants what is denied. Capture goes on meanwhile, into the
/// spool, which it could not while the vault is opened again.
fn passes(error: &VaultError) -> bool {
    match (error.kind(), error.source()) {
        (ErrorKind::Retry, _) | (ErrorKind::Config, None) => true,
        // Not an object that this program cannot read.
        (ErrorKind::Config, Some(source)) => !source.is::<FormatError>(),
        _ => false,
    }
}

/// Lists the vault as soon as the store answers.
async fn listed(target: &Target, monitor: &Monitor) -> Result<Option<Newest>, VaultError> {
    let mut backoff = Backoff::new(RETRY_LIMIT);
    let mut patience = STORE_PATIENCE;
    let mut told = false;
    loop {
        let listing = tokio::time::timeout(patience, target.timeline.newest());
        let error = match listing.await {
            Ok(Err(error)) if passes(&error) => error,
            Ok(listed) => return listed,
            Err(_) => {
                let waited = patience;
                // It may be larger than thought.
                patience = patience.saturating_mul(2);
                let error = format!("list the vault: no answer within {waited:?}");
                VaultError::new(ErrorKind::Retry, error)
            }
        };
        if std::mem::replace(&mut told, true) {
            tracing::debug!(%error, "the vault was not listed yet");
        } else {
            tracing::warn!(%error, "the vault was not listed: nothing goes up before it is; trying again");
        }
        monitor.vault_failed(&error);
        tokio::time::sleep(backoff.step()).await;
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

    /// Waits until it is known; false where the vault is not what was remembered.
    pub async fn holds(&self) -> bool {
        let mut holds = self.holds.subscribe();
        // The sender is held by `self`.
        let known = holds.wait_for(Option::is_some).await;
        known.is_ok_and(|known| *known == Some(true))
    }

    /// Lists the vault as soon as the store answers; gives what it found. False too where that cannot be told by waiting: who
    /// opens the vault again says what is wrong.
    pub(crate) async fn seek(&self, target: &Target, basis: Basis, monitor: &Monitor) -> bool {
        let holds = match listed(target, monitor).await {
            Ok(newest) => {
                monitor.vault_answers();
                let holds = basis.is_all_of(newest.as_ref());
                if !holds {
                    tracing::info!(
                        remembered = %basis.durable,
                        cursor = newest.as_ref().map(|newest| newest.cursor.0),
                        "the object store is back, and the vault is not what was remembered: it is opened again"
                    );
                }
                holds
            }
            Err(error) => {
                tracing::error!(%error, "the object store is back, and the vault cannot be read: it is opened again");
                monitor.vault_failed(&error);
                false
            }
        };
        self.holds.send_replace(Some(holds));
        holds
    }
}

#[cfg(test)]
mod tests;
