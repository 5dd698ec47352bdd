//! Asks an object store for what Revkeep relies on, and says plainly what it does not honour.

use bytes::Bytes;

use crate::error::VaultError;
use crate::objects::{Created, Objects};
use crate::vault::Vault;

/// What the store honours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent finding"
)]
pub struct ProbeReport {
    /// What was put is read back with the same bytes.
    pub reads_back: bool,
    /// A listing shows what was just put.
    pub lists_after_put: bool,
    /// Of two puts with the condition that nothing is there, the second is refused and changes nothing.
    pub create_if_absent: bool,
    /// A read of a range gives that range.
    pub range_reads: bool,
    /// What was removed is gone.
    pub removes: bool,
}

impl ProbeReport {
    /// Whether a vault can be kept there. Without create-if-absent it can be, with one risk: agents that race at the
    /// birth of a timeline may both believe that they opened it.
    pub fn usable(&self) -> bool {
        self.reads_back && self.lists_after_put && self.range_reads
    }

    /// Each finding in words.
    pub fn findings(&self) -> [(&'static str, bool, &'static str); 5] {
        [
            (
                "read after put",
                self.reads_back,
                "backups could not be trusted: use another store",
            ),
            (
                "list after put",
                self.lists_after_put,
                "new segments could be missed: use another store",
            ),
            (
                "range reads",
                self.range_reads,
                "parts of objects cannot be read: use another store",
            ),
            (
                "create if absent",
                self.create_if_absent,
                "agents that start at the same moment may open one timeline twice: start one first",
            ),
            (
                "remove",
                self.removes,
                "retention could not free space: grant the right to delete",
            ),
        ]
    }
}

/// Puts, reads, lists and removes an object of its own beneath the vault.
///
/// # Errors
/// `Config` or `Retry` when the store cannot be reached or denies what every vault needs.
pub async fn probe(vault: &Vault) -> Result<ProbeReport, VaultError> {
    let folder = format!("probe/{:016x}", rand::random::<u64>());
    let name = format!("{folder}/object");
    let result = run(&vault.objects, &folder, &name).await;
    let removed = vault.objects.remove(&name).await.is_ok()
        && matches!(vault.objects.find(&name).await, Ok(None));
    result.map(|report| ProbeReport {
        removes: removed,
        ..report
    })
}

async fn run(objects: &Objects, folder: &str, name: &str) -> Result<ProbeReport, VaultError> {
    let first = Bytes::from_static(b"revkeep probe: the first");
    let second = Bytes::from_static(b"revkeep probe: another");
    let created = objects.create(name, first.clone()).await?;
    let reads_back = objects
        .find(name)
        .await?
        .is_some_and(|there| there == first);
    let path = objects.path(name);
    let lists_after_put = objects
        .list(folder)
        .await?
        .iter()
        .any(|meta| meta.location == path);
    let part = objects
        .get_part(name, object_store::GetRange::Bounded(8..13))
        .await;
    let range_reads = part.is_ok_and(|(part, size)| part == "probe" && size == first.len() as u64);
    let refused = objects.create(name, second).await? == Created::Exists;
    let unchanged = objects
        .find(name)
        .await?
        .is_some_and(|there| there == first);
    Ok(ProbeReport {
        reads_back,
        lists_after_put,
        create_if_absent: created == Created::New && refused && unchanged,
        range_reads,
        removes: false,
    })
}
