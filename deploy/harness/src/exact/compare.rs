//! The comparison of a restored server with what the source said.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use etcd_client::{Client, CompactionOptions};

use super::capture::LONG_LEASE_S;
use crate::truth::{self, Truth};

/// Asks a restored server for everything that the source was asked for.
pub(super) async fn compare(truth: &Truth, client: &mut Client, hashes_too: bool) -> Result<()> {
    let at = truth.revision;
    if hashes_too {
        let mut answer = client.hash_kv(at).await?;
        if answer.compact_version() < truth.compact_revision {
            // The agent learnt of the compaction only later; the same rows compact to the same result.
            let physical = CompactionOptions::new().with_physical();
            client
                .compact(truth.compact_revision, Some(physical))
                .await?;
            answer = client.hash_kv(at).await?;
        }
        ensure!(
            (answer.compact_version(), answer.hash()) == (truth.compact_revision, truth.hash),
            "HashKV({at}): source {:08x} under {}, restored {:08x} under {}",
            truth.hash,
            truth.compact_revision,
            answer.hash(),
            answer.compact_version()
        );
    }
    let keys = truth::keys_at(client, at).await?;
    ensure!(
        keys.len() == truth.keys.len(),
        "{} keys, not {}",
        keys.len(),
        truth.keys.len()
    );
    for (restored, source) in keys.iter().zip(&truth.keys) {
        ensure!(
            restored == source,
            "at {at}: {:?}: a key's state differs",
            source.key
        );
    }
    let leases = long(truth::leases_of(client, &keys).await?);
    ensure!(
        leases == long(truth.leases.clone()),
        "leases {leases:?}, not {:?}",
        truth.leases
    );
    Ok(())
}

fn long(leases: BTreeMap<i64, i64>) -> BTreeMap<i64, i64> {
    leases
        .into_iter()
        .filter(|(_, ttl_s)| *ttl_s >= LONG_LEASE_S)
        .collect()
}
