//! Receipts: what came of verifications and drills, kept beside what they are about.

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_schemas::envelope;
use revkeep_schemas::manifest::{ProofKind, Receipt};
use revkeep_schemas::names::Uid;

use crate::cluster::Cluster;
use crate::error::VaultError;
use crate::layout;
use crate::objects::Stored;

/// Receipts that are fetched at once.
const PARALLEL_GETS: usize = 8;

impl Cluster {
    /// Stores a receipt.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn put_receipt(&self, receipt: &Receipt) -> Result<Stored, VaultError> {
        let name = layout::receipt_name(receipt.kind, receipt.ended_unix_ms, Uid(rand::random()));
        let path = format!("{}/{name}", layout::receipts_folder(&self.name));
        let identity = layout::receipt_identity(self.vault.id, &self.name, &name);
        let object = envelope::seal(&identity, &self.vault.writer, &receipt.encode());
        self.vault.objects.put_unique(&path, object).await
    }

    /// The newest receipts of a kind, newest first, and their names. One that cannot be read is left out, with a warning.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn receipts(
        &self,
        kind: ProofKind,
        newest: usize,
    ) -> Result<Vec<(String, Receipt)>, VaultError> {
        let folder = layout::receipts_folder(&self.name);
        let listed = self.vault.objects.list(&folder).await?;
        let mut names: Vec<_> = listed
            .iter()
            .filter_map(|meta| meta.location.filename())
            .filter(|name| layout::parse_receipt(name) == Some(kind))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        let newest = names.into_iter().rev().take(newest);
        let read = stream::iter(newest).map(async |name| match self.receipt(&name).await {
            Ok(receipt) => Ok::<_, VaultError>(receipt.map(|receipt| (name, receipt))),
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "a receipt cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        });
        let read: Vec<_> = read.buffered(PARALLEL_GETS).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// One receipt, or `None` if it is gone.
    pub(crate) async fn receipt(&self, name: &str) -> Result<Option<Receipt>, VaultError> {
        let path = format!("{}/{name}", layout::receipts_folder(&self.name));
        let Some(object) = self.vault.objects.find(&path).await? else {
            return Ok(None);
        };
        let identity = layout::receipt_identity(self.vault.id, &self.name, name);
        envelope::open(&object, &identity)
            .and_then(|body| Receipt::decode(&body))
            .map(Some)
            .map_err(VaultError::format(path))
    }
}
