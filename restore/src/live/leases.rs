//! Leases of keys that are put back.

use std::collections::BTreeMap;

use etcd_client::LeaseGrantOptions;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Action, Live, LivePlan};
use crate::error::RestoreError;
use crate::leases::UNKNOWN_TTL_SECONDS;

/// Leases that are asked for at once.
const PARALLEL: usize = 8;

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
    /// A key that is put gets it again; where it has ended it is granted anew, with its id and the time that it was granted. A key
    /// that has its value already keeps the lease that it has now.
    #[default]
    Keep,
    /// The key stays until it is deleted.
    Drop,
}

/// A lease that keys are to get and that the cluster does not have any more. It is granted anew, and nobody keeps it alive: its
/// keys go with it unless somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EndedLease {
    /// Its id.
    pub id: i64,
    /// The seconds that it gets.
    pub ttl_seconds: i64,
    /// Whether the vault does not know how many it was granted, so that these are [`UNKNOWN_TTL_SECONDS`].
    pub made_up: bool,
    /// How many keys are put that get it.
    pub keys: usize,
}

/// The leases that a plan needs and the cluster does not have. `granted` are the seconds that they were granted, by id.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn ended_leases(
    live: &Live,
    plan: &LivePlan,
    granted: &BTreeMap<i64, i64>,
) -> Result<Vec<EndedLease>, RestoreError> {
    let mut needed = BTreeMap::<i64, usize>::new();
    for step in &plan.steps {
        match &step.action {
            Action::Put(wish) if wish.lease != 0 => *needed.entry(wish.lease).or_default() += 1,
            Action::Put(_) | Action::Delete => {}
        }
    }
    let asked = stream::iter(needed)
        .map(|(id, keys)| async move { Ok::<_, RestoreError>((id, keys, lives(live, id).await?)) })
        .buffered(PARALLEL);
    let asked: Vec<_> = asked.try_collect().await?;
    let ended = asked.into_iter().filter(|(_, _, lives)| !lives);
    let ended = ended.map(|(id, keys, _)| {
        let ttl = granted.get(&id).copied().filter(|ttl| *ttl > 0);
        EndedLease {
            id,
            ttl_seconds: ttl.unwrap_or(UNKNOWN_TTL_SECONDS),
            made_up: ttl.is_none(),
            keys,
        }
    });
    Ok(ended.collect())
}

/// Grants leases anew, with their ids; `granted` counts them.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn grant_leases(
    live: &Live,
    leases: &[EndedLease],
    granted: &mut usize,
) -> Result<(), RestoreError> {
    for lease in leases {
        let mut client = live.leases.clone();
        let options = LeaseGrantOptions::new().with_id(lease.id);
        let granting = client.grant(lease.ttl_seconds, Some(options));
        match live.within("grant a lease", granting).await {
            Ok(_) => *granted += 1,
            // Its owner was faster, or the answer to an earlier try was lost.
            Err(_) if lives(live, lease.id).await? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn lives(live: &Live, id: i64) -> Result<bool, RestoreError> {
    let mut leases = live.leases.clone();
    let asking = leases.time_to_live(id, None);
    Ok(live.within("ask for a lease", asking).await?.ttl() > 0)
}
