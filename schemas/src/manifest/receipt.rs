//! A receipt: what came of a verification or a drill.

use prost::Message;

use crate::names::TimelineId;
use crate::{FormatError, Revision};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ProofKind {
    /// Objects were read and compared.
    Verification = 1,
    /// A revision was restored and a server booted on it.
    Drill = 2,
}

impl ProofKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::Drill => "drill",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Verification, Self::Drill]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// What came of a verification or a drill; written once.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// What was done.
    pub kind: ProofKind,
    /// Whether nothing was wrong.
    pub sound: bool,
    /// How it went, in a sentence.
    pub summary: String,
    /// When it ended, by the clock of whoever did it, in milliseconds since 1970.
    pub ended_unix_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Of a drill the timeline that was restored; zero otherwise.
    pub timeline: TimelineId,
    /// Of a drill the revision that was restored; zero otherwise.
    pub revision: Revision,
    /// Of a drill the compact revision of the result; zero otherwise.
    pub compact_revision: Revision,
    /// Of a drill the HashKV that the booted server gave; zero otherwise.
    pub hash: u32,
    /// Of a drill the server and its version.
    pub server: String,
    /// Objects that were read by a verification.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many things were wrong.
    pub findings: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bool, tag = "2")]
    sound: bool,
    #[prost(string, tag = "3")]
    summary: String,
    #[prost(int64, tag = "4")]
    ended_unix_ms: i64,
    #[prost(uint64, tag = "5")]
    took_ms: u64,
    #[prost(uint32, tag = "6")]
    timeline: u32,
    #[prost(int64, tag = "7")]
    revision: i64,
    #[prost(int64, tag = "8")]
    compact_revision: i64,
    #[prost(fixed32, tag = "9")]
    hash: u32,
    #[prost(string, tag = "10")]
    server: String,
    #[prost(uint64, tag = "11")]
    objects: u64,
    #[prost(uint64, tag = "12")]
    bytes: u64,
    #[prost(uint64, tag = "13")]
    findings: u64,
}

impl Receipt {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            kind: self.kind as u32,
            sound: self.sound,
            summary: self.summary.clone(),
            ended_unix_ms: self.ended_unix_ms,
            took_ms: self.took_ms,
            timeline: self.timeline.0,
            revision: self.revision.0,
            compact_revision: self.compact_revision.0,
            hash: self.hash,
            server: self.server.clone(),
            objects: self.objects,
            bytes: self.bytes,
            findings: self.findings,
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wrong = |expected: &str, found| FormatError::corrupt("receipt", 0, expected, found);
        let wire =
            Wire::decode(bytes).map_err(|error| wrong("a protobuf message", error.to_string()))?;
        let kind = match wire.kind {
            1 => ProofKind::Verification,
            2 => ProofKind::Drill,
            other => return Err(wrong("a verification or a drill", other.to_string())),
        };
        Ok(Self {
            kind,
            sound: wire.sound,
            summary: wire.summary,
            ended_unix_ms: wire.ended_unix_ms,
            took_ms: wire.took_ms,
            timeline: TimelineId(wire.timeline),
            revision: Revision(wire.revision),
            compact_revision: Revision(wire.compact_revision),
            hash: wire.hash,
            server: wire.server,
            objects: wire.objects,
            bytes: wire.bytes,
            findings: wire.findings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let receipt = Receipt {
            kind: ProofKind::Drill,
            sound: true,
            summary: "revision 7 was restored and booted".to_owned(),
            ended_unix_ms: 1_800_000_000_000,
            took_ms: 1_234,
            timeline: TimelineId(2),
            revision: Revision(7),
            compact_revision: Revision(5),
            hash: 0xdead_beef,
            server: "etcd 3.5.1".to_owned(),
            objects: 1,
            bytes: 2,
            findings: 3,
        };
        assert_eq!(Receipt::decode(&receipt.encode()).unwrap(), receipt);
        assert!(Receipt::decode(&[]).is_err());
    }
}
