//! The rows of what stands beside timelines: pins, receipts, rounds of deletions.

use super::super::database::int;
use super::apply::{Applying, time};
use super::found::{Change, Place, RoundRow};
use super::tables::{DAMAGED, PINS, ROUNDS, VERIFICATIONS};
use crate::error::VaultError;
use crate::layout;

impl Applying<'_> {
    /// Writes pins.
    pub(super) async fn pins(&mut self, change: &Change) -> Result<(), VaultError> {
        for (name, meta) in &change.pins_gone {
            let sql = "DELETE FROM pins WHERE cluster_id = $1 AND name = $2";
            self.tx.execute(sql, &[self.id.into(), name.into()]).await?;
            let path = format!("{}/{name}", layout::pins_folder(&self.cluster.name));
            let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND name = $2";
            let values = [self.id.into(), (&path).into()];
            self.tx.execute(sql, &values).await?;
            self.amount("pin", 0, *meta, -1);
        }
        for found in &change.pins {
            self.amount("pin", 0, found.meta, 1);
            let (bytes, stored) = (int(found.meta.bytes).into(), found.meta.stored_ms.into());
            match &found.pin {
                Ok(pin) => {
                    let values = [
                        self.id.into(),
                        found.name.as_str().into(),
                        i64::from(pin.timeline.0).into(),
                        pin.revision.0.into(),
                        (&pin.reason).into(),
                        pin.created_unix_ms.into(),
                        pin.expires_unix_ms.into(),
                        bytes,
                        stored,
                    ];
                    PINS.insert(self.tx, &values).await?;
                }
                Err(why) => {
                    let path = layout::pin_path(&self.cluster.name, &found.name);
                    let values = [
                        self.id.into(),
                        (&path).into(),
                        "pin".into(),
                        why.into(),
                        bytes,
                        stored,
                    ];
                    DAMAGED.insert(self.tx, &values).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes what was verified and proven.
    pub(super) async fn receipts(&mut self, change: &Change) -> Result<(), VaultError> {
        if change.listed {
            let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND kind = 'receipt'";
            self.tx.execute(sql, &[self.id.into()]).await?;
        }
        for name in &change.receipts_gone {
            let sql = "DELETE FROM verifications WHERE cluster_id = $1 AND name = $2";
            self.tx.execute(sql, &[self.id.into(), name.into()]).await?;
        }
        for found in &change.receipts {
            let name = &found.name;
            match &found.receipt {
                Ok(receipt) => {
                    let drill = receipt.timeline.0 > 0;
                    let began = receipt.ended_unix_ms.saturating_sub(int(receipt.took_ms));
                    let values = [
                        self.id.into(),
                        name.into(),
                        receipt.kind.name().into(),
                        drill.then_some(i64::from(receipt.timeline.0)).into(),
                        drill.then_some(receipt.revision.0).into(),
                        time(began).into(),
                        time(receipt.ended_unix_ms).into(),
                        receipt.sound.into(),
                        int(receipt.objects).into(),
                        int(receipt.bytes).into(),
                        (&receipt.summary).into(),
                        int(found.meta.bytes).into(),
                        found.meta.stored_ms.into(),
                    ];
                    VERIFICATIONS.insert(self.tx, &values).await?;
                }
                Err(why) => {
                    let path = format!("{}/{name}", layout::receipts_folder(&self.cluster.name));
                    let values = [
                        self.id.into(),
                        (&path).into(),
                        "receipt".into(),
                        why.into(),
                        0.into(),
                        0.into(),
                    ];
                    DAMAGED.insert(self.tx, &values).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes rounds; what they have deleted.
    pub(super) async fn rounds(&mut self, change: &Change) -> Result<Vec<Place>, VaultError> {
        if change.listed {
            let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND kind = 'round'";
            self.tx.execute(sql, &[self.id.into()]).await?;
        }
        for (name, why) in &change.rounds_damaged {
            let values = [
                self.id.into(),
                name.into(),
                "round".into(),
                why.into(),
                0.into(),
                0.into(),
            ];
            DAMAGED.insert(self.tx, &values).await?;
        }
        let mut deleted = Vec::new();
        for round in &change.rounds {
            self.round(round).await?;
            deleted.extend_from_slice(&round.deleted);
        }
        Ok(deleted)
    }

    async fn round(&mut self, round: &RoundRow) -> Result<(), VaultError> {
        let [marked, verdict, sweep, swept] = round.stored;
        let values = [
            self.id.into(),
            i64::from(round.number).into(),
            marked.into(),
            verdict.into(),
            sweep.into(),
            swept.into(),
            round.taken_back.into(),
            int(round.bases).into(),
            int(round.segments).into(),
            int(round.chunks).into(),
            int(round.bytes).into(),
        ];
        ROUNDS.insert(self.tx, &values).await
    }
}
