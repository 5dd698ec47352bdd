//! One version of a key.

use bytes::Bytes;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{FormatError, Row, RowKey};

/// What a write transaction made of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key.
    pub key: Vec<u8>,
    /// Where it stands in history, and whether it is a deletion.
    pub at: RowKey,
    /// The revision in which the key was created; zero of a deletion.
    pub create_revision: i64,
    /// Puts since then; zero of a deletion.
    pub version: i64,
    /// The lease it is attached to, or zero.
    pub lease: i64,
    /// The value; empty of a deletion.
    pub value: Bytes,
}

impl Version {
    /// The version that a row holds.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it cannot be read.
    pub fn of(row: &Row<'_>) -> Result<Self, FormatError> {
        let kv = KeyValue::decode(row.value)?;
        Ok(Self {
            key: kv.key.to_vec(),
            at: row.key,
            create_revision: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
            // A copy: it must not hold the whole piece that it stands in.
            value: Bytes::copy_from_slice(kv.value),
        })
    }

    /// Whether it ended the key.
    #[must_use]
    pub const fn is_deletion(&self) -> bool {
        self.at.tombstone
    }
}
