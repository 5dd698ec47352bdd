//! Leases of keys that are put back.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::LeaseGrantOptions;

use super::{Action, Live, LivePlan};
use crate::error::RestoreError;
use crate::leases::UNKNOWN_TTL_SECONDS;

/// What becomes of the lease that a key had.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum LeasePolicy {
    /// The key gets it again; where it has ended it is granted anew, with its id and the time that it was granted.
    #[default]
    Keep,
    /// The key stays until it is deleted.
    Drop,
}

/// Grants the leases that a plan needs and the cluster does not have. Gives their ids.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn ensure_leases(
    live: &Live,
    plan: &LivePlan,
    granted: &BTreeMap<i64, i64>,
) -> Result<Vec<i64>, RestoreError> {
    let needed: BTreeSet<i64> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Put(wish) => Some(wish.lease).filter(|lease| *lease != 0),
            Action::Delete => None,
        })
        .collect();
    let mut made = Vec::new();
    for id in needed {
        let mut leases = live.leases.clone();
        let asking = leases.time_to_live(id, None);
        if live.within("ask for a lease", asking).await?.ttl() > 0 {
            continue;
        }
        let ttl = granted.get(&id).copied().filter(|ttl| *ttl > 0);
        let options = LeaseGrantOptions::new().with_id(id);
        let granting = leases.grant(ttl.unwrap_or(UNKNOWN_TTL_SECONDS), Some(options));
        live.within("grant a lease", granting).await?;
        made.push(id);
    }
    Ok(made)
}
