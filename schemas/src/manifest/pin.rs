//! A pin: a recovery point that a person wants kept.

use prost::Message;

use crate::names::TimelineId;
use crate::{FormatError, Revision};

/// A revision that retention keeps until it expires or is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRecord {
    /// The timeline of the revision.
    pub timeline: TimelineId,
    /// The revision.
    pub revision: Revision,
    /// Why, in a person's words.
    pub reason: String,
    /// When it was set, by the clock of whoever set it, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// From when on it holds nothing any more; `None` for never.
    pub expires_unix_ms: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(uint32, tag = "1")]
    timeline: u32,
    #[prost(int64, tag = "2")]
    revision: i64,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(int64, tag = "4")]
    created_unix_ms: i64,
    #[prost(int64, tag = "5")]
    expires_unix_ms: i64,
}

impl PinRecord {
    /// The body of the object.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            timeline: self.timeline.0,
            revision: self.revision.0,
            reason: self.reason.clone(),
            created_unix_ms: self.created_unix_ms,
            expires_unix_ms: self.expires_unix_ms.unwrap_or(0),
        };
        wire.encode_to_vec()
    }

    /// Reads the body of an object whose hash was checked.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no such message, or names no revision of a timeline.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wrong = |expected: &str, found| Err(FormatError::corrupt("pin", 0, expected, found));
        let wire = match Wire::decode(bytes) {
            Ok(wire) => wire,
            Err(error) => return wrong("a protobuf message", error.to_string()),
        };
        if wire.timeline == 0 || wire.revision < 1 {
            return wrong("a revision of a timeline", format!("{wire:?}"));
        }
        Ok(Self {
            timeline: TimelineId(wire.timeline),
            revision: Revision(wire.revision),
            reason: wire.reason,
            created_unix_ms: wire.created_unix_ms,
            expires_unix_ms: Some(wire.expires_unix_ms).filter(|at| *at != 0),
        })
    }

    /// Whether it holds its revision at a time.
    #[must_use]
    pub fn holds_at(&self, unix_ms: i64) -> bool {
        self.expires_unix_ms.is_none_or(|end| unix_ms < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_no_less() {
        for expires_unix_ms in [None, Some(1_800_000_000_000)] {
            let pin = PinRecord {
                timeline: TimelineId(2),
                revision: Revision(4711),
                reason: "before the upgrade".to_owned(),
                created_unix_ms: 1_700_000_000_000,
                expires_unix_ms,
            };
            let bytes = pin.encode();
            assert_eq!(PinRecord::decode(&bytes).unwrap(), pin);
            assert!(PinRecord::decode(&bytes[2..4]).is_err());
            assert!(pin.holds_at(1_799_999_999_999));
            assert_eq!(pin.holds_at(1_800_000_000_000), expires_unix_ms.is_none());
        }
        assert!(PinRecord::decode(&[]).is_err());
    }
}
