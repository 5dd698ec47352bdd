//! The library's types in our own messages, for disk and wire.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use revkeep_schemas::store_api as api;

use super::{
    PeerMember, PeerNode,
    types::{Body, Commands, Entry, LogId, Membership, StoredMembership, Vote, log_id, position},
};
use crate::{Result, StoreError, backend::Position};

pub(super) fn place(at: Position) -> api::LogPosition {
    api::LogPosition {
        term: at.term,
        index: at.index,
    }
}

pub(super) fn place_of(id: Option<&LogId>) -> Option<api::LogPosition> {
    id.map(|id| place(position(id)))
}

pub(super) fn at(place: &api::LogPosition) -> Position {
    Position::new(place.term, place.index)
}

pub(super) fn id_at(place: Option<&api::LogPosition>) -> Option<LogId> {
    log_id(at(place?))
}

pub(super) fn ballot(vote: &Vote) -> api::Ballot {
    api::Ballot {
        term: vote.leader_id.term,
        candidate: vote.leader_id.voted_for,
        elected: vote.committed,
    }
}

pub(super) fn vote(ballot: Option<&api::Ballot>) -> Vote {
    let mut vote = Vote::default();
    if let Some(ballot) = ballot {
        vote.leader_id.term = ballot.term;
        vote.leader_id.voted_for = ballot.candidate;
        vote.committed = ballot.elected && ballot.candidate.is_some();
    }
    vote
}

pub(super) fn membership(membership: &Membership) -> api::Membership {
    let configs = membership.get_joint_config().iter();
    api::Membership {
        voters: configs
            .map(|ids| api::Voters {
                ids: ids.iter().copied().collect(),
            })
            .collect(),
        members: members(membership),
    }
}

/// All members, ascending by id.
pub(super) fn members(membership: &Membership) -> Vec<PeerMember> {
    let nodes = membership.nodes();
    nodes.map(|(id, node)| node.member(*id)).collect()
}

pub(super) fn membership_of(message: &api::Membership) -> Membership {
    let voters: Vec<BTreeSet<u64>> = message
        .voters
        .iter()
        .map(|voters| voters.ids.iter().copied().collect())
        .collect();
    let nodes: BTreeMap<u64, PeerNode> = message.members.iter().map(PeerNode::of).collect();
    Membership::new(voters, nodes)
}

pub(super) fn log_entry(entry: &Entry) -> api::LogEntry {
    let body = match &entry.body {
        Body::Blank => None,
        Body::Commands(commands) => Some(api::log_entry::Body::Batch(commands.batch.clone())),
        Body::Membership(body) => Some(api::log_entry::Body::Membership(membership(body))),
    };
    api::LogEntry {
        at: Some(place(position(&entry.id))),
        body,
    }
}

pub(super) fn entry(message: api::LogEntry) -> Result<Entry> {
    let id = id_at(message.at.as_ref())
        .ok_or_else(|| StoreError::internal("a log entry does not say where it belongs"))?;
    let body = match message.body {
        None => Body::Blank,
        Some(api::log_entry::Body::Batch(batch)) => {
            Body::Commands(Commands::new(kept(batch), None))
        }
        Some(api::log_entry::Body::Membership(body)) => Body::Membership(membership_of(&body)),
    };
    Ok(Entry { id, body })
}

/// As much a connection reads at once (tonic, `DEFAULT_CODEC_BUFFER_SIZE`).
const RECEIVED_BYTES: usize = 8 * 1024;

/// Bytes of a message that are kept for longer than the message. A part keeps all of what was received with it in memory,
/// so what is smaller is copied.
pub(super) fn kept(bytes: Bytes) -> Bytes {
    if bytes.len() < RECEIVED_BYTES {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}

/// What the state machine keeps for us beside its position.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub(super) stored: StoredMembership,
    pub(super) removed: BTreeSet<u64>,
}

impl Applied {
    pub(super) fn decode(bytes: Option<&Bytes>) -> Result<Self> {
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        let message = api::AppliedMembership::decode(bytes.clone()).map_err(|error| {
            StoreError::damaged("the membership in the state", error.to_string())
        })?;
        let body = message.membership.as_ref().map(membership_of);
        Ok(Self {
            stored: StoredMembership::new(id_at(message.at.as_ref()), body.unwrap_or_default()),
            removed: message.removed.into_iter().collect(),
        })
    }

    pub(super) fn encode(&self) -> Bytes {
        let message = api::AppliedMembership {
            at: place_of(self.stored.log_id().as_ref()),
            membership: Some(membership(self.stored.membership())),
            removed: self.removed.iter().copied().collect(),
        };
        message.encode_to_vec().into()
    }

    /// What follows when the entry `id` brings `next`.
    pub(super) fn followed_by(&self, id: LogId, next: Membership) -> Self {
        let before = self.stored.membership().nodes().map(|(id, _)| *id);
        let gone = before.filter(|id| next.get_node(id).is_none());
        let removed = self.removed.iter().copied().chain(gone).collect();
        Self {
            stored: StoredMembership::new(Some(id), next),
            removed,
        }
    }
}
