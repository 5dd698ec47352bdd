//! A round of deletions: what it may delete, whether it goes on, what it deletes, that it is over.
//!
//! Each of them is written once, so whoever comes second finds what was decided; see `formats/retention.md`.

use prost::Message;

use super::ChunkHash;
use crate::FormatError;

/// Bytes of a chunk in a list: its hash, and its round as a little-endian number.
const CHUNK_LEN: usize = 36;

fn wrong(what: &str, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::corrupt(what, 0, expected, found)
}

fn message<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, FormatError> {
    M::decode(bytes).map_err(|error| wrong(what, "a protobuf message", error.to_string()))
}

/// Objects of a cluster: what a round of deletions may delete, or what it does delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectList {
    /// Manifests of bases, below the vault's prefix.
    pub bases: Vec<String>,
    /// Segments, below the vault's prefix.
    pub segments: Vec<String>,
    /// Chunks: hash and round.
    pub chunks: Vec<(ChunkHash, u32)>,
    /// The bytes of all of them.
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WireList {
    #[prost(string, repeated, tag = "1")]
    bases: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    segments: Vec<String>,
    #[prost(bytes = "vec", tag = "3")]
    chunks: Vec<u8>,
    #[prost(uint64, tag = "4")]
    bytes: u64,
}

impl ObjectList {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.objects() == 0
    }

    /// How many objects are in it.
    pub fn objects(&self) -> usize {
        self.bases.len() + self.segments.len() + self.chunks.len()
    }

    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let mut chunks = Vec::with_capacity(self.chunks.len() * CHUNK_LEN);
        for (hash, round) in &self.chunks {
            chunks.extend_from_slice(&hash.0);
            chunks.extend_from_slice(&round.to_le_bytes());
        }
        let wire = WireList {
            bases: self.bases.clone(),
            segments: self.segments.clone(),
            chunks,
            bytes: self.bytes,
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such list.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: WireList = message("list of deletions", bytes)?;
        let (chunks, rest) = wire.chunks.as_chunks::<CHUNK_LEN>();
        if !rest.is_empty() {
            let found = format!("{} bytes", wire.chunks.len());
            return Err(wrong("list of deletions", "chunks of 36 bytes each", found));
        }
        let chunk = |bytes: &[u8; CHUNK_LEN]| {
            let (hash, round) = bytes.split_first_chunk::<32>()?;
            let round = u32::from_le_bytes(*round.first_chunk()?);
            Some((ChunkHash(*hash), round))
        };
        Ok(Self {
            bases: wire.bases,
            segments: wire.segments,
            chunks: chunks.iter().filter_map(chunk).collect(),
            bytes: wire.bytes,
        })
    }
}

/// Whether a round of deletions goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundVerdict {
    /// It deletes, once each of these bases, which were being written, is there or void.
    Sweep {
        /// The manifests of the bases, below the vault's prefix.
        waits_for: Vec<String>,
    },
    /// It deletes nothing.
    TakenBack,
}

#[derive(Clone, PartialEq, Message)]
struct WireVerdict {
    #[prost(bool, tag = "1")]
    taken_back: bool,
    #[prost(string, repeated, tag = "2")]
    waits_for: Vec<String>,
}

impl RoundVerdict {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = match self {
            Self::Sweep { waits_for } => WireVerdict {
                taken_back: false,
                waits_for: waits_for.clone(),
            },
            Self::TakenBack => WireVerdict {
                taken_back: true,
                waits_for: Vec::new(),
            },
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: WireVerdict = message("verdict", bytes)?;
        if wire.taken_back {
            return Ok(Self::TakenBack);
        }
        Ok(Self::Sweep {
            waits_for: wire.waits_for,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            bases in prop::collection::vec("[a-z/0-9-]{0,20}", 0..5),
            segments in prop::collection::vec("[a-z/0-9-]{0,20}", 0..5),
            chunks in prop::collection::vec((any::<[u8; 32]>(), any::<u32>()), 0..20),
            bytes: u64,
        ) {
            let chunks = chunks.into_iter().map(|(hash, round)| (ChunkHash(hash), round)).collect();
            let list = ObjectList { bases: bases.clone(), segments, chunks, bytes };
            prop_assert_eq!(ObjectList::decode(&list.encode()).unwrap(), list);
            let verdict = RoundVerdict::Sweep { waits_for: bases };
            prop_assert_eq!(RoundVerdict::decode(&verdict.encode()).unwrap(), verdict);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ObjectList::decode(&bytes);
            let _ = RoundVerdict::decode(&bytes);
        }
    }

    #[test]
    fn a_list_that_was_cut_is_refused() {
        let wire = WireList {
            chunks: vec![0; 40],
            ..WireList::default()
        };
        assert!(ObjectList::decode(&wire.encode_to_vec()).is_err());
        let back = RoundVerdict::TakenBack;
        assert_eq!(RoundVerdict::decode(&back.encode()).unwrap(), back);
    }
}
