//! The smallest objects: the vault itself, the birth of a timeline, a gap, the head.

use prost::Message;

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
}

/// The birth of a timeline; written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineRecord {
    /// The source that it was opened for.
    pub source: SourceIdentity,
    /// The timeline it continues and the highest revision that both share; zero if they share nothing.
    pub parent: Option<(TimelineId, Revision)>,
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
}

impl TimelineRecord {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireTimeline {
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
        Ok(Self {
            source: SourceIdentity {
                cluster_id: wire.cluster_id,
                member_ids: wire.member_ids,
                etcd_version: wire.etcd_version,
                first_seen_unix_ms: wire.first_seen_unix_ms,
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
}

#[derive(Clone, PartialEq, Message)]
struct WireGap {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    last: i64,
    #[prost(string, tag = "3")]
    reason: String,
}

impl GapRecord {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireGap {
            first: self.first.0,
            last: self.last.0,
            reason: self.reason.clone(),
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
        })
    }
}

/// The one mutable object of a cluster: a hint that can be rebuilt from the rest, and a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        })
    }
}
