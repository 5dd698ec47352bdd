//! The manifest of a base: everything about a base except its rows, which it lists as chunks.

use prost::Message;

use super::ChunkHash;
use crate::digest::RowDigest;
use crate::{FormatError, Revision};

/// What the source itself said about its rows: the proof that a restore is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The revision that the hash was asked at.
    pub revision: Revision,
    /// The compact revision under which it was computed.
    pub compact_revision: Revision,
    /// etcd's `HashKV`.
    pub hash: u32,
}

/// One chunk, as a manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// The hash of its rows.
    pub hash: ChunkHash,
    /// The round of deletions in which it was stored, which is a part of its name; zero before the first.
    pub round: u32,
    /// The revision of its first row.
    pub first: Revision,
    /// The revision of its last row. The next chunk may begin in the same revision.
    pub last: Revision,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of its encoded rows.
    pub plain_bytes: u64,
    /// Bytes of the object in the store.
    pub stored_bytes: u64,
    /// The digest of its rows.
    pub digest: RowDigest,
    /// Bytes of the key filter in the object; zero where it has none.
    pub keys_bytes: u64,
}

/// A bucket of the source's db file other than `key`, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallBucket {
    /// The bucket's name.
    pub name: Vec<u8>,
    /// Keys and values in the order of the keys.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// All that a base says besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseFacts {
    /// The revision of the snapshot: the highest revision that it contains.
    pub revision: Revision,
    /// The source's compact revision in the snapshot; zero if it was never compacted.
    pub compact_revision: Revision,
    /// All buckets of the source's db file but `key`.
    pub buckets: Vec<SmallBucket>,
    /// What the source said about the rows, if it was asked.
    pub checkpoint: Option<Checkpoint>,
    /// The source's version, for example `3.5.33`.
    pub etcd_version: String,
    /// The source's cluster id.
    pub cluster_id: u64,
    /// The id of the member that sent the snapshot.
    pub member_id: u64,
    /// The source's Raft term.
    pub raft_term: u64,
    /// The source's Raft index.
    pub raft_index: u64,
    /// The size of the source's db file, in bytes.
    pub db_bytes: u64,
    /// When the snapshot began, by the agent's clock.
    pub started_unix_ms: i64,
    /// When its last byte arrived, by the agent's clock.
    pub finished_unix_ms: i64,
}

/// A base: all rows that were present at one revision, by reference, and what else a restore needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseManifest {
    /// All but the rows.
    pub facts: BaseFacts,
    /// The rows, in order.
    pub chunks: Vec<ChunkRef>,
    /// How many rows all chunks have.
    pub rows: u64,
    /// Bytes of all encoded rows.
    pub plain_bytes: u64,
    /// Bytes of all chunks in the store, whether this base uploaded them or an earlier one.
    pub stored_bytes: u64,
    /// The digest of all rows.
    pub digest: RowDigest,
}

impl BaseManifest {
    /// The manifest of a base with these chunks, and their sums.
    #[must_use]
    pub fn of_chunks(facts: BaseFacts, chunks: Vec<ChunkRef>) -> Self {
        let sum = |bytes: fn(&ChunkRef) -> u64| chunks.iter().map(bytes).sum();
        Self {
            facts,
            rows: sum(|chunk| chunk.rows),
            plain_bytes: sum(|chunk| chunk.plain_bytes),
            stored_bytes: sum(|chunk| chunk.stored_bytes),
            digest: chunks
                .iter()
                .fold(RowDigest::default(), |sum, chunk| sum.combine(chunk.digest)),
            chunks,
        }
    }

    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        Wire::from(self).encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked, and checks that its sums are right.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it contradicts itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire =
            Wire::decode(bytes).map_err(|error| wrong("a protobuf message", error.to_string()))?;
        let manifest = Self::try_from(wire)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), FormatError> {
        let mut rows = 0_u64;
        let mut plain_bytes = 0_u64;
        let mut digest = RowDigest::default();
        let mut last = Revision::ZERO;
        for chunk in &self.chunks {
            if chunk.first < last || chunk.last < chunk.first || chunk.last > self.facts.revision {
                return Err(wrong(
                    "chunks in the order of their revisions",
                    format!("{chunk:?}"),
                ));
            }
            last = chunk.last;
            rows = rows.saturating_add(chunk.rows);
            plain_bytes = plain_bytes.saturating_add(chunk.plain_bytes);
            digest = digest.combine(chunk.digest);
        }
        if (rows, plain_bytes, digest) != (self.rows, self.plain_bytes, self.digest) {
            return Err(wrong(
                "sums that are those of its chunks",
                format!(
                    "{} rows, {} bytes, digest {}",
                    self.rows, self.plain_bytes, self.digest
                ),
            ));
        }
        if self.facts.compact_revision > self.facts.revision {
            return Err(wrong(
                "a compact revision up to its own",
                self.facts.compact_revision.to_string(),
            ));
        }
        Ok(())
    }

    /// The revisions that the base alone can bring back: from the source's compact revision to its own.
    pub fn covers(&self) -> (Revision, Revision) {
        (
            self.facts.compact_revision.max(Revision::INITIAL),
            self.facts.revision,
        )
    }
}

fn wrong(expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::corrupt("base manifest", 0, expected, found)
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(int64, tag = "2")]
    compact_revision: i64,
    #[prost(message, repeated, tag = "3")]
    chunks: Vec<WireChunk>,
    #[prost(uint64, tag = "4")]
    rows: u64,
    #[prost(uint64, tag = "5")]
    plain_bytes: u64,
    #[prost(uint64, tag = "6")]
    stored_bytes: u64,
    #[prost(bytes = "vec", tag = "7")]
    digest: Vec<u8>,
    #[prost(message, repeated, tag = "8")]
    buckets: Vec<WireBucket>,
    #[prost(message, optional, tag = "9")]
    checkpoint: Option<WireCheckpoint>,
    #[prost(string, tag = "10")]
    etcd_version: String,
    #[prost(fixed64, tag = "11")]
    cluster_id: u64,
    #[prost(fixed64, tag = "12")]
    member_id: u64,
    #[prost(uint64, tag = "13")]
    raft_term: u64,
    #[prost(uint64, tag = "14")]
    raft_index: u64,
    #[prost(uint64, tag = "15")]
    db_bytes: u64,
    #[prost(int64, tag = "16")]
    started_unix_ms: i64,
    #[prost(int64, tag = "17")]
    finished_unix_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WireChunk {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(int64, tag = "2")]
    first: i64,
    #[prost(int64, tag = "3")]
    last: i64,
    #[prost(uint64, tag = "4")]
    rows: u64,
    #[prost(uint64, tag = "5")]
    plain_bytes: u64,
    #[prost(uint64, tag = "6")]
    stored_bytes: u64,
    #[prost(bytes = "vec", tag = "7")]
    digest: Vec<u8>,
    #[prost(uint64, tag = "8")]
    keys_bytes: u64,
    #[prost(uint32, tag = "9")]
    round: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireBucket {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<WireEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct WireEntry {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// A checkpoint as segments and manifests store it.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct WireCheckpoint {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(int64, tag = "2")]
    compact_revision: i64,
    #[prost(fixed32, tag = "3")]
    hash: u32,
}

impl From<Checkpoint> for WireCheckpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            revision: checkpoint.revision.0,
            compact_revision: checkpoint.compact_revision.0,
            hash: checkpoint.hash,
        }
    }
}

impl From<WireCheckpoint> for Checkpoint {
    fn from(wire: WireCheckpoint) -> Self {
        Self {
            revision: Revision(wire.revision),
            compact_revision: Revision(wire.compact_revision),
            hash: wire.hash,
        }
    }
}

/// Reads the 16 bytes of a digest.
pub(crate) fn digest(bytes: &[u8]) -> Result<RowDigest, FormatError> {
    bytes
        .try_into()
        .map(RowDigest::from_bytes)
        .map_err(|_| wrong("a digest of 16 bytes", format!("{} bytes", bytes.len())))
}

impl From<&BaseManifest> for Wire {
    fn from(base: &BaseManifest) -> Self {
        let facts = &base.facts;
        Self {
            revision: facts.revision.0,
            compact_revision: facts.compact_revision.0,
            chunks: base.chunks.iter().map(WireChunk::from).collect(),
            rows: base.rows,
            plain_bytes: base.plain_bytes,
            stored_bytes: base.stored_bytes,
            digest: base.digest.to_bytes().to_vec(),
            buckets: facts.buckets.iter().map(WireBucket::from).collect(),
            checkpoint: facts.checkpoint.map(WireCheckpoint::from),
            etcd_version: facts.etcd_version.clone(),
            cluster_id: facts.cluster_id,
            member_id: facts.member_id,
            raft_term: facts.raft_term,
            raft_index: facts.raft_index,
            db_bytes: facts.db_bytes,
            started_unix_ms: facts.started_unix_ms,
            finished_unix_ms: facts.finished_unix_ms,
        }
    }
}

impl From<&ChunkRef> for WireChunk {
    fn from(chunk: &ChunkRef) -> Self {
        Self {
            hash: chunk.hash.0.to_vec(),
            round: chunk.round,
            first: chunk.first.0,
            last: chunk.last.0,
            rows: chunk.rows,
            plain_bytes: chunk.plain_bytes,
            stored_bytes: chunk.stored_bytes,
            digest: chunk.digest.to_bytes().to_vec(),
            keys_bytes: chunk.keys_bytes,
        }
    }
}

impl From<&SmallBucket> for WireBucket {
    fn from(bucket: &SmallBucket) -> Self {
        let entry = |(key, value): &(Vec<u8>, Vec<u8>)| WireEntry {
            key: key.clone(),
            value: value.clone(),
        };
        Self {
            name: bucket.name.clone(),
            entries: bucket.entries.iter().map(entry).collect(),
        }
    }
}

impl TryFrom<Wire> for BaseManifest {
    type Error = FormatError;

    fn try_from(wire: Wire) -> Result<Self, FormatError> {
        Ok(Self {
            chunks: wire
                .chunks
                .iter()
                .map(ChunkRef::try_from)
                .collect::<Result<_, _>>()?,
            rows: wire.rows,
            plain_bytes: wire.plain_bytes,
            stored_bytes: wire.stored_bytes,
            digest: digest(&wire.digest)?,
            facts: BaseFacts {
                revision: Revision(wire.revision),
                compact_revision: Revision(wire.compact_revision),
                buckets: wire.buckets.into_iter().map(SmallBucket::from).collect(),
                checkpoint: wire.checkpoint.map(Checkpoint::from),
                etcd_version: wire.etcd_version,
                cluster_id: wire.cluster_id,
                member_id: wire.member_id,
                raft_term: wire.raft_term,
                raft_index: wire.raft_index,
                db_bytes: wire.db_bytes,
                started_unix_ms: wire.started_unix_ms,
                finished_unix_ms: wire.finished_unix_ms,
            },
        })
    }
}

impl TryFrom<&WireChunk> for ChunkRef {
    type Error = FormatError;

    fn try_from(wire: &WireChunk) -> Result<Self, FormatError> {
        let hash = wire.hash.as_slice().try_into().map_err(|_| {
            wrong(
                "a chunk's hash of 32 bytes",
                format!("{} bytes", wire.hash.len()),
            )
        })?;
        Ok(Self {
            hash: ChunkHash(hash),
            round: wire.round,
            first: Revision(wire.first),
            last: Revision(wire.last),
            rows: wire.rows,
            plain_bytes: wire.plain_bytes,
            stored_bytes: wire.stored_bytes,
            digest: digest(&wire.digest)?,
            keys_bytes: wire.keys_bytes,
        })
    }
}

impl From<WireBucket> for SmallBucket {
    fn from(wire: WireBucket) -> Self {
        Self {
            name: wire.name,
            entries: wire
                .entries
                .into_iter()
                .map(|entry| (entry.key, entry.value))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
