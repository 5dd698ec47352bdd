//! Manifests: the small objects of a vault, and the chunks of rows that a base's manifest lists.
//!
//! Every object here is a body in an [`crate::envelope`]; `formats/manifest.md` has the tables. A type is what callers
//! use; the message that is stored is private beside it, and what was read is checked before it is returned.

mod base;
mod chunk;
mod chunker;
mod pin;
mod receipt;
mod round;
mod small;

pub use base::{BaseFacts, BaseManifest, Checkpoint, ChunkRef, SmallBucket};
pub use chunk::{
    ChunkHash, MAX_CHUNK_PLAIN_BYTES, chunk_keys_bytes, chunk_keys_range, decode_chunk,
    decode_chunk_into, decode_chunk_keys, encode_chunk, unpack_chunk_into,
};
pub use chunker::{Chunker, ChunkerOptions, PlainChunk};
pub use pin::PinRecord;
pub use receipt::{ProofKind, Receipt};
pub use round::{ObjectList, RoundVerdict};
pub use small::{GapRecord, Head, SourceIdentity, TimelineRecord, VaultFormat, Witness};

pub(crate) use base::{WireCheckpoint, digest};
pub(crate) use chunk::unpack;
