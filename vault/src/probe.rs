//! Asks an object store for what Revkeep relies on, and says plainly what it does not honour.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

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
    /// How far the store's clock is ahead of this machine's, in milliseconds, by the time that it stamped on what was
    /// put; stores stamp whole seconds. 0 where that time lies between before and after the put.
    pub clock_ahead_ms: Option<i64>,
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
    let before = Utc::now();
    let created = objects.create(name, first.clone()).await?;
    let after = Utc::now();
    let reads_back = objects
        .find(name)
        .await?
        .is_some_and(|there| there == first);
    let path = objects.path(name);
    let listed = objects.list(folder).await?;
    let listed = listed.into_iter().find(|meta| meta.location == path);
    let lists_after_put = listed.is_some();
    let clock_ahead_ms = listed.map(|meta| ahead(meta.last_modified, before, after));
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
        clock_ahead_ms,
    })
}

/// How far a stamp of whole seconds lies outside of the time in which it was made.
fn ahead(stamped: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> i64 {
    let latest = stamped + TimeDelta::milliseconds(999);
    let off = if stamped > after {
        stamped - after
    } else if latest < before {
        latest - before
    } else {
        TimeDelta::zero()
    };
    off.num_milliseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_second_is_no_difference() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().unwrap() };
        let (before, after) = (
            at("2026-11-21T10:00:00.900Z"),
            at("2026-11-21T10:00:01.100Z"),
        );
        let ahead = |stamped| ahead(at(stamped), before, after);
        assert_eq!(ahead("2026-11-21T10:00:00Z"), 0);
        assert_eq!(ahead("2026-11-21T10:00:01Z"), 0);
        assert_eq!(ahead("2026-11-21T10:00:03Z"), 1_900);
        assert_eq!(ahead("2026-11-21T09:00:00Z"), -3_599_901);
    }
}
