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
        let read = stream::iter(newest).map(async |name| {
            let path = format!("{folder}/{name}");
            let Some(object) = self.vault.objects.find(&path).await? else {
                return Ok::<_, VaultError>(None);
            };
            let identity = layout::receipt_identity(self.vault.id, &self.name, &name);
            let receipt =
                envelope::open(&object, &identity).and_then(|body| Receipt::decode(&body));
            match receipt {
                Ok(receipt) => Ok(Some((name, receipt))),
                Err(error) => {
                    tracing::warn!(receipt = path, %error, "a receipt cannot be read");
                    Ok(None)
                }
            }
        });
        let read: Vec<_> = read.buffered(PARALLEL_GETS).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }
}
