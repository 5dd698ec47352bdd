//! Which member sends snapshots: a read transaction that is open for minutes, and pages of it that cannot be used again,
//! are less of a burden on a follower than on the leader.

use std::time::Duration;

use clap::ValueEnum;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::{Connection, Identity, Member};

/// How long a member may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How far a follower may be behind the others, in revisions.
const BEHIND: i64 = 1000;

/// Which member is to send snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// The one that is watched, or the first endpoint that answers.
    #[default]
    Any,
    /// A healthy follower among the endpoints, where there is one.
    Follower,
}

impl Prefer {
    /// The member that is preferred to `otherwise`; `None` when that is as good.
    pub(crate) async fn member(
        self,
        connection: &Connection,
        otherwise: &Member,
    ) -> Option<Member> {
        if self == Self::Any {
            return None;
        }
        let asking = connection.endpoints.iter().map(async |endpoint| {
            let asking = async {
                let (member, _) = Member::connect(connection, endpoint).await.ok()?;
                // Once it has answered this, it has applied what was committed before.
                member.current_revision().await.ok()?;
                let identity = member.identity().await.ok()?;
                Some((member, identity))
            };
            tokio::time::timeout(PATIENCE, asking).await.ok()?
        });
        let answered: Vec<_> = join_all(asking).await.into_iter().flatten().collect();
        let identities: Vec<_> = answered.iter().map(|(_, identity)| identity).collect();
        let chosen = choose(&identities).and_then(|at| answered.get(at));
        if let Some((member, identity)) = chosen {
            tracing::info!(
                endpoint = member.endpoint(),
                member = format_args!("{:x}", identity.member_id),
                "the snapshot is taken from a follower"
            );
            return Some(member.clone());
        }
        tracing::info!(
            endpoint = otherwise.endpoint(),
            "no healthy follower is among --endpoints: the snapshot is taken from this member"
        );
        None
    }
}

/// The follower that is the furthest, of those that can be used.
fn choose(members: &[&Identity]) -> Option<usize> {
    let furthest = members.iter().map(|member| member.revision).max()?;
    let usable = |member: &Identity| {
        let follows = member.leader != 0 && member.leader != member.member_id;
        let near = furthest.0.saturating_sub(member.revision.0) <= BEHIND;
        follows && !member.learner && member.errors.is_empty() && near
    };
    let usable = members.iter().enumerate().filter(|(_, one)| usable(one));
    usable
        .max_by_key(|(at, one)| (one.revision, std::cmp::Reverse(*at)))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::Revision;

    use super::*;

    fn member(id: u64, revision: i64) -> Identity {
        Identity {
            cluster_id: 1,
            member_id: id,
            version: String::new(),
            raft_term: 2,
            raft_index: 9,
            leader: 1,
            learner: false,
            revision: Revision(revision),
            errors: Vec::new(),
        }
    }

    #[test]
    fn a_follower_is_chosen_that_is_healthy_and_not_far_behind() {
        let (leader, near, far) = (member(1, 5000), member(2, 4990), member(3, 100));
        assert_eq!(choose(&[&leader, &far, &near]), Some(2));
        let learner = Identity {
            learner: true,
            ..member(4, 5000)
        };
        let alarmed = Identity {
            errors: vec!["NOSPACE".to_owned()],
            ..member(5, 5000)
        };
        let lost = Identity {
            leader: 0,
            ..member(6, 5000)
        };
        assert_eq!(choose(&[&leader, &far, &learner, &alarmed, &lost]), None);
        assert_eq!(choose(&[]), None);
    }
}
