//! The smallest objects: the vault itself, the birth of a timeline, a gap, the head.

use prost::Message;

use crate::digest::RowDigest;
use crate::names::TimelineId;
use crate::{FormatError, Revision};

fn wrong(what: &str, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::corrupt(what, 0, expected, found)
}

fn message<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, FormatError> {
    M::decode(bytes).map_err(|error| wrong(what, "a protobuf message", error.to_string()))
}

/// `FORMAT`: that this prefix is a vault. Its id is in the envelope. Empty in this version; encryption adds fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultFormat {}

impl VaultFormat {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] when it asks for what this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.is_empty() {
            return Ok(Self {});
        }
        Err(FormatError::unsupported(
            "FORMAT",
            "it has settings that this program does not know; use a newer Revkeep",
        ))
    }
}

/// Where a timeline came from, as the agent that opened it saw its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceIdentity {
    /// etcd's cluster id.
    pub cluster_id: u64,
    /// etcd's member ids.
    pub member_ids: Vec<u64>,
    /// The version of the member that was asked.
    pub etcd_version: String,
    /// When the agent first saw it, by the agent's clock.
    pub first_seen_unix_ms: i64,
    /// What tells this source from another one with the same ids; absent in timelines of the first agents.
    pub witness: Option<Witness>,
}

/// One moment of a source: its content and where its Raft log stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// A revision of the source.
    pub revision: Revision,
    /// The digest of the rows of that revision alone; that of none where they could not be read.
    pub digest: RowDigest,
    /// The Raft term when the revision was read; 0 where it is not known.
    pub raft_term: u64,
    /// The Raft index then; 0 where it is not known.
    pub raft_index: u64,
    /// By how much its Raft index was ahead of its revision, at least; `None` where it is not known, as in timelines of the first
    /// agents. In one history of etcd that never goes back, for an entry makes one revision at most.
    pub raft_surplus: Option<i64>,
}

/// The birth of a timeline; written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineRecord {
    /// The source that it was opened for.
    pub source: SourceIdentity,
    /// The timeline it continues and the highest revision that both share; zero if they share nothing.
    pub parent: Option<(TimelineId, Revision)>,
    /// Whether the fork revision is only a bound: the source had compacted the place where the histories part.
    pub fork_at_most: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireTimeline {
    #[prost(fixed64, tag = "1")]
    cluster_id: u64,
    #[prost(fixed64, repeated, tag = "2")]
    member_ids: Vec<u64>,
    #[prost(string, tag = "3")]
    etcd_version: String,
    #[prost(int64, tag = "4")]
    first_seen_unix_ms: i64,
    #[prost(uint32, tag = "5")]
    parent: u32,
    #[prost(int64, tag = "6")]
    fork_revision: i64,
    #[prost(bool, tag = "7")]
    fork_at_most: bool,
    #[prost(int64, tag = "8")]
    witness_revision: i64,
    #[prost(bytes = "vec", tag = "9")]
    witness_digest: Vec<u8>,
    #[prost(uint64, tag = "10")]
    raft_term: u64,
    #[prost(uint64, tag = "11")]
    raft_index: u64,
    #[prost(sint64, optional, tag = "12")]
    raft_surplus: Option<i64>,
}

impl TimelineRecord {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let witness = self.source.witness;
        let wire = WireTimeline {
            fork_at_most: self.fork_at_most,
            witness_revision: witness.map_or(0, |witness| witness.revision.0),
            witness_digest: witness
                .map_or_else(Vec::new, |witness| witness.digest.to_bytes().into()),
            raft_term: witness.map_or(0, |witness| witness.raft_term),
            raft_index: witness.map_or(0, |witness| witness.raft_index),
            raft_surplus: witness.and_then(|witness| witness.raft_surplus),
            cluster_id: self.source.cluster_id,
            member_ids: self.source.member_ids.clone(),
            etcd_version: self.source.etcd_version.clone(),
            first_seen_unix_ms: self.source.first_seen_unix_ms,
            parent: self.parent.map_or(0, |(id, _)| id.0),
            fork_revision: self.parent.map_or(0, |(_, fork)| fork.0),
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: WireTimeline = message("timeline", bytes)?;
        let witness = match wire.witness_digest.as_slice() {
            [] => None,
            digest => {
                let digest = digest.try_into().map_err(|_| {
                    wrong("timeline", "a digest of 16 bytes", format!("{digest:02x?}"))
                })?;
                Some(Witness {
                    revision: Revision(wire.witness_revision),
                    digest: RowDigest::from_bytes(digest),
                    raft_term: wire.raft_term,
                    raft_index: wire.raft_index,
                    raft_surplus: wire.raft_surplus,
                })
            }
        };
        Ok(Self {
            fork_at_most: wire.fork_at_most,
            source: SourceIdentity {
                cluster_id: wire.cluster_id,
                member_ids: wire.member_ids,
                etcd_version: wire.etcd_version,
                first_seen_unix_ms: wire.first_seen_unix_ms,
                witness,
            },
            parent: (wire.parent > 0)
                .then_some((TimelineId(wire.parent), Revision(wire.fork_revision))),
        })
    }
}

/// A range of revisions that was lost, and why. The range is in the envelope too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// The first lost revision.
    pub first: Revision,
    /// The last lost revision.
    pub last: Revision,
    /// Why, in words.
    pub reason: String,
    /// Whether segments hold the range otherwise than the source had it, so that none of them may be used.
    pub distrusted: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireGap {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    last: i64,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(bool, tag = "4")]
    distrusted: bool,
}

impl GapRecord {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireGap {
            first: self.first.0,
            last: self.last.0,
            reason: self.reason.clone(),
            distrusted: self.distrusted,
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such message, or no range.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: WireGap = message("gap", bytes)?;
        if wire.first < 1 || wire.last < wire.first {
            return Err(wrong(
                "gap",
                "a range",
                format!("[{}, {}]", wire.first, wire.last),
            ));
        }
        Ok(Self {
            first: Revision(wire.first),
            last: Revision(wire.last),
            reason: wire.reason,
            distrusted: wire.distrusted,
        })
    }
}

/// The one mutable object of a cluster: a hint that can be rebuilt from the rest, and a sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The newest timeline.
    pub timeline: TimelineId,
    /// The revision of the newest base.
    pub base_revision: Revision,
    /// The newest revision that is durable in the vault.
    pub durable_revision: Revision,
    /// When it was written, by the agent's clock.
    pub heartbeat_unix_ms: i64,
    /// The revision at which the source stood then.
    pub source_revision: Revision,
    /// The source's compact revision then.
    pub compact_revision: Revision,
    /// The agent that uploads for all; 0 for none, and in heads of the first agents.
    pub uploader: u64,
    /// How often that has changed hands: the head with the larger number is right.
    pub turn: u64,
    /// When another agent last said that it follows, by that agent's clock; 0 for never.
    pub followed_unix_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WireHead {
    #[prost(uint32, tag = "1")]
    timeline: u32,
    #[prost(int64, tag = "2")]
    base_revision: i64,
    #[prost(int64, tag = "3")]
    durable_revision: i64,
    #[prost(int64, tag = "4")]
    heartbeat_unix_ms: i64,
    #[prost(int64, tag = "5")]
    source_revision: i64,
    #[prost(int64, tag = "6")]
    compact_revision: i64,
    #[prost(fixed64, tag = "7")]
    uploader: u64,
    #[prost(uint64, tag = "8")]
    turn: u64,
    #[prost(int64, tag = "9")]
    followed_unix_ms: i64,
}

impl Head {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireHead {
            timeline: self.timeline.0,
            base_revision: self.base_revision.0,
            durable_revision: self.durable_revision.0,
            heartbeat_unix_ms: self.heartbeat_unix_ms,
            source_revision: self.source_revision.0,
            compact_revision: self.compact_revision.0,
            uploader: self.uploader,
            turn: self.turn,
            followed_unix_ms: self.followed_unix_ms,
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: WireHead = message("head", bytes)?;
        Ok(Self {
            timeline: TimelineId(wire.timeline),
            base_revision: Revision(wire.base_revision),
            durable_revision: Revision(wire.durable_revision),
            heartbeat_unix_ms: wire.heartbeat_unix_ms,
            source_revision: Revision(wire.source_revision),
            compact_revision: Revision(wire.compact_revision),
            uploader: wire.uploader,
            turn: wire.turn,
            followed_unix_ms: wire.followed_unix_ms,
        })
    }
}
