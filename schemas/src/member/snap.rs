//! Raft snapshot files, `member/snap/*.snap` (etcd, `server/etcdserver/api/snap/snapshotter.go`).
//!
//! A file is a protobuf of a CRC-32C and a marshalled [`raftpb::Snapshot`](Snapshot), whose data is the v2 store
//! as JSON; see [`v2store`](super::v2store). The database is not in it.

use prost::Message;

use super::raftpb::{ConfState, SnapFile, Snapshot, SnapshotMetadata};
use crate::FormatError;

/// The content of a `.snap` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snap {
    /// The last Raft index that it contains.
    pub index: u64,
    /// The term of that index.
    pub term: u64,
    /// The members at that index.
    pub conf_state: ConfState,
    /// The v2 store as JSON.
    pub data: Vec<u8>,
}

impl Snap {
    /// The file's name: term and index, sixteen hexadecimal digits each.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:016x}-{:016x}.snap", self.term, self.index)
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let snapshot = Snapshot {
            data: Some(self.data.clone()),
            metadata: Some(SnapshotMetadata {
                conf_state: Some(self.conf_state.clone()),
                index: Some(self.index),
                term: Some(self.term),
            }),
        };
        let data = snapshot.encode_to_vec();
        SnapFile {
            crc: Some(crc_fast::crc32_iscsi(&data)),
            data: Some(data),
        }
        .encode_to_vec()
    }

    /// Reads a file's bytes; `what` names it in errors.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is cut, damaged, or has no checksum.
    pub fn decode(bytes: &[u8], what: &str) -> Result<Self, FormatError> {
        let wrong = |expected: &str, found: String| FormatError::corrupt(what, 0, expected, found);
        let file =
            SnapFile::decode(bytes).map_err(|error| wrong("a snapshot file", error.to_string()))?;
        let data = file.data.unwrap_or_default();
        let crc = file.crc.unwrap_or_default();
        if crc == 0 || data.is_empty() {
            return Err(wrong("a checksum and data", "none".to_owned()));
        }
        let computed = crc_fast::crc32_iscsi(&data);
        if crc != computed {
            return Err(wrong(
                &format!("data of CRC-32C {crc:#010x}"),
                format!("{computed:#010x}"),
            ));
        }
        let snapshot = Snapshot::decode(data.as_slice())
            .map_err(|error| wrong("a Raft snapshot", error.to_string()))?;
        let metadata = snapshot.metadata.unwrap_or_default();
        Ok(Self {
            index: metadata.index.unwrap_or_default(),
            term: metadata.term.unwrap_or_default(),
            conf_state: metadata.conf_state.unwrap_or_default(),
            data: snapshot.data.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn snap() -> Snap {
        Snap {
            index: 3,
            term: 1,
            conf_state: ConfState::of_voters(vec![1, 2]),
            data: b"{}".to_vec(),
        }
    }

    #[test]
    fn survives_the_round_trip() {
        assert_eq!(Snap::decode(&snap().encode(), "snap").unwrap(), snap());
        assert_eq!(snap().file_name(), "0000000000000001-0000000000000003.snap");
    }

    proptest! {
        /// Invariant 10, every bit counts.
        #[test]
        fn a_flipped_bit_is_found(position in 0..snap().encode().len(), bit in 0..8) {
            let mut bytes = snap().encode();
            bytes[position] ^= 1_u8 << bit;
            let read = Snap::decode(&bytes, "snap");
            prop_assert!(read.is_err() || read.unwrap() == snap());
        }

        #[test]
        fn a_cut_file_is_found(len in 0..snap().encode().len()) {
            prop_assert!(Snap::decode(&snap().encode()[..len], "snap").is_err());
        }
    }
}
