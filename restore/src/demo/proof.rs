//! What a member says of one revision.

use std::time::{Duration, Instant};

use etcd_client::GetOptions;

use super::kubernetes::RESOURCES;
use super::workload::VICTIM;
use crate::error::{Kind, RestoreError};
use crate::members::{Cluster, connect, failed};

/// How long a member may lag behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// A revision as one member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// HashKV at the revision.
    pub(super) hash: u32,
    /// The compact revision that HashKV counts from.
    pub(super) compact_revision: i64,
    /// Keys that live.
    pub(super) keys: i64,
    /// Those of them in the victim's namespace.
    pub(super) victims: i64,
}

/// Asks every member that runs, and fails unless they agree.
pub(super) async fn agreed(cluster: &Cluster, revision: i64) -> Result<Sight, RestoreError> {
    let mut first: Option<Sight> = None;
    for place in cluster.alive() {
        let seen = see(&place.client_url, revision).await?;
        match first {
            Some(other) if other != seen => {
                return Err(RestoreError::new(
                    Kind::Verification,
                    format!(
                        "{} sees {seen:?} at revision {revision}, another member {other:?}",
                        place.name
                    ),
                ));
            }
            _ => first = Some(seen),
        }
    }
    first.ok_or_else(|| RestoreError::new(Kind::Failed, "no member runs"))
}

async fn see(url: &str, revision: i64) -> Result<Sight, RestoreError> {
    let client = connect(&[url.to_owned()]).await?;
    let began = Instant::now();
    // A member may be a moment behind; until then the revision is in its future.
    let hash = loop {
        match client.maintenance_client().hash_kv(revision).await {
            Ok(answer) => break answer,
            Err(_behind) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(failed("cannot ask for HashKV", error)),
        }
    };
    let count = async |key: Vec<u8>| {
        let options = GetOptions::new()
            .with_prefix()
            .with_revision(revision)
            .with_count_only();
        client
            .kv_client()
            .get(key, Some(options))
            .await
            .map(|answer| answer.count())
            .map_err(|error| failed("cannot count keys", error))
    };
    let keys = count(b"/".to_vec()).await?;
    let mut victims = 0;
    for resource in RESOURCES {
        victims += count(resource.key(VICTIM, "").into_bytes()).await?;
    }
    Ok(Sight {
        hash: hash.hash(),
        compact_revision: hash.compact_version(),
        keys,
        victims,
    })
}
