//! How a member stands.

use crate::StoreError;

/// What a member is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes entries, has no vote.
    Learner,
    /// Takes entries and votes.
    #[default]
    Follower,
    /// Stands for election.
    Candidate,
    /// Decides the order of entries.
    Leader,
}

/// Who leads. Changes seldom, so it is worth waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// What this member is. A leader that has lost touch with the majority for an election's time counts as a follower
    /// that knows no leader, as in etcd.
    pub role: Role,
    /// The newest term this member has seen.
    pub term: u64,
    /// The leader, if one is known and was heard of within an election's time.
    pub leader: Option<u64>,
}

impl Leadership {
    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }
}

/// How a member stands, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// This member.
    pub member_id: u64,
    /// The cluster.
    pub cluster_id: u64,
    /// What this member is.
    pub role: Role,
    /// The newest term this member has seen.
    pub term: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The index of the last entry known to be agreed on.
    pub committed: u64,
    /// The index of the last entry applied here.
    pub applied: u64,
    /// The index of the last entry in this member's log.
    pub last: u64,
    /// Commands of this member's clients that wait for their outcome.
    pub pending: u64,
    /// How often the leader has changed since this member started, as it saw it.
    pub leader_changes: u64,
    /// Commands of this member's clients that came to no outcome in time or were refused.
    pub failed_proposals: u64,
}

/// Why a member no longer takes part.
#[derive(Clone, Debug)]
pub enum StopReason {
    /// It was asked to stop.
    Shutdown,
    /// It is no longer a member: its data directory is of no more use.
    Removed,
    /// Its disk or state failed: it must not go on.
    Failed(StoreError),
}
