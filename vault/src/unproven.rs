//! A vault that was opened while its store was away: whose id is taken for granted until it can be read.

use revkeep_schemas::names::VaultId;
use tokio::sync::OnceCell;

use crate::error::{ErrorKind, VaultError};
use crate::objects::Objects;
use crate::vault::id_of;

/// What the vault's id has to be.
#[derive(Debug)]
pub(crate) struct Unproven {
    id: VaultId,
    proven: OnceCell<()>,
}

impl Unproven {
    pub(crate) fn new(id: VaultId) -> Self {
        Self {
            id,
            proven: OnceCell::new(),
        }
    }

    /// Asks the vault for its id, until it has once told the right one.
    ///
    /// # Errors
    /// `Refused` when it is another vault or none, `Retry` while the store is away.
    pub(crate) async fn prove(&self, objects: &Objects) -> Result<(), VaultError> {
        let proven = self.proven.get_or_try_init(async || {
            let there = match id_of(objects).await {
                Ok(there) => there,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(self.refused("there is none any more").with_source(error));
                }
                Err(error) => return Err(error),
            };
            if there == self.id {
                Ok(())
            } else {
                Err(self.refused(&format!("vault {there} is there now")))
            }
        });
        proven.await.copied()
    }

    fn refused(&self, found: &str) -> VaultError {
        VaultError::new(
            ErrorKind::Refused,
            format!(
                "nothing is written: this was vault {}, and {found}; check the address, and start again to write there",
                self.id
            ),
        )
    }
}
