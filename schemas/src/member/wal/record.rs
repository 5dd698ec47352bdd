//! What the records of a log say.

use prost::Message;

use crate::{
    FormatError,
    member::raftpb::{Entry, HardState, WalMetadata, WalSnapshot},
};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalRecord {
    /// Whose log it is; in each file once, after the checksum.
    Metadata(WalMetadata),
    /// An entry. A later one of the same index replaces it and all that followed it.
    Entry(Entry),
    /// The hard state; the last one counts.
    State(HardState),
    /// The checksum at which a file begins: 0 in the first, the one that the file before ended with in others.
    Crc(u32),
    /// A snapshot was saved at this index.
    Snapshot(WalSnapshot),
}

impl WalRecord {
    /// The type's number.
    pub(super) const fn kind(&self) -> i64 {
        match self {
            Self::Metadata(_) => 1,
            Self::Entry(_) => 2,
            Self::State(_) => 3,
            Self::Crc(_) => 4,
            Self::Snapshot(_) => 5,
        }
    }

    /// The marshalled message; a checksum has none.
    pub(super) fn data(&self) -> Option<Vec<u8>> {
        match self {
            Self::Metadata(message) => Some(message.encode_to_vec()),
            Self::Entry(message) => Some(message.encode_to_vec()),
            Self::State(message) => Some(message.encode_to_vec()),
            Self::Crc(_) => None,
            Self::Snapshot(message) => Some(message.encode_to_vec()),
        }
    }

    /// The record of a type and its data, at an offset of the file.
    pub(super) fn decode(
        kind: i64,
        crc: u32,
        data: &[u8],
        what: &str,
        offset: u64,
    ) -> Result<Self, FormatError> {
        let wrong = |message: &str, error: prost::DecodeError| {
            FormatError::corrupt(what, offset, message, error.to_string())
        };
        match kind {
            1 => WalMetadata::decode(data)
                .map(Self::Metadata)
                .map_err(|error| wrong("metadata", error)),
            2 => Entry::decode(data)
                .map(Self::Entry)
                .map_err(|error| wrong("an entry", error)),
            3 => HardState::decode(data)
                .map(Self::State)
                .map_err(|error| wrong("a hard state", error)),
            4 => Ok(Self::Crc(crc)),
            5 => WalSnapshot::decode(data)
                .map(Self::Snapshot)
                .map_err(|error| wrong("a snapshot record", error)),
            _ => Err(FormatError::corrupt(
                what,
                offset,
                "a record of type 1 to 5",
                format!("type {kind}"),
            )),
        }
    }
}
