//! Whether and of whom HashKV is asked. The member reads all its rows for it and holds its lock meanwhile, so that
//! everybody who writes through it waits (etcd, `server/storage/mvcc/kvstore.go`).

use std::time::Duration;

use clap::ValueEnum;
use rand::seq::SliceRandom as _;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::AgentError;
use crate::source::{Identity, Member};

/// Agents of one cluster, whose schedules are the same, ask at different moments within this.
const SPREAD: Duration = Duration::from_secs(2);
/// How long a follower may lag behind the snapshot.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);

/// Whether a base is compared with the source's HashKV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashPolicy {
    /// Of a follower, if there is one among the endpoints; not at the same moment as other agents.
    #[default]
    Auto,
    /// It is not.
    Never,
    /// At once, of the member that the snapshot came from.
    Always,
}

/// Asks for the hash of a snapshot's revision. `None` when it is not wanted, or cannot be had.
pub(super) async fn checkpoint(
    member: &Member,
    identity: &Identity,
    revision: Revision,
) -> Option<Checkpoint> {
    let asked = match member.connection().access().hashkv {
        HashPolicy::Never => return None,
        HashPolicy::Always => member.hash_kv(revision).await,
        HashPolicy::Auto => Box::pin(kindly(member, identity, revision)).await,
    };
    asked.unwrap_or_else(|error| {
        tracing::warn!(%error, "the source gave no hash; the base has no checkpoint");
        None
    })
}

async fn kindly(
    member: &Member,
    identity: &Identity,
    revision: Revision,
) -> Result<Option<Checkpoint>, AgentError> {
    // One member alone has no other to spare, and its agent no other to meet.
    let alone = member.members().await.is_ok_and(|all| all.len() < 2);
    if alone {
        return member.hash_kv(revision).await;
    }
    tokio::time::sleep(SPREAD.mul_f64(rand::random::<f64>())).await;
    if let Some(follower) = follower(member, identity).await {
        match of_follower(&follower, revision).await {
            Ok(Some(checkpoint)) => {
                let endpoint = follower.endpoint();
                tracing::debug!(endpoint, "a follower was asked for the hash");
                return Ok(Some(checkpoint));
            }
            Ok(None) => {}
            Err(error) => {
                let endpoint = follower.endpoint();
                tracing::debug!(%error, endpoint, "a follower gave no hash");
            }
        }
    }
    member.hash_kv(revision).await
}

/// A follower of the same release, by which rule a hash is folded depends on it: this member itself, or another endpoint.
async fn follower(member: &Member, identity: &Identity) -> Option<Member> {
    let condition = member.condition().await.ok()?;
    if condition.leader != condition.member_id {
        return Some(member.clone());
    }
    let connection = member.connection();
    let mut others: Vec<_> = connection.endpoints.iter().collect();
    others.retain(|endpoint| *endpoint != member.endpoint());
    others.shuffle(&mut rand::rng());
    for endpoint in others {
        let Ok((other, its)) = Member::connect(connection, endpoint).await else {
            continue;
        };
        let same = its.version == identity.version && its.cluster_id == identity.cluster_id;
        let follows = other
            .condition()
            .await
            .is_ok_and(|one| one.leader != one.member_id && !one.is_learner);
        if same && follows {
            return Some(other);
        }
    }
    None
}

/// Waits a little for a follower that lags behind.
async fn of_follower(
    follower: &Member,
    revision: Revision,
) -> Result<Option<Checkpoint>, AgentError> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match follower.hash_kv(revision).await {
            // It does not have the revision yet.
            Err(AgentError::Source { .. }) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}
