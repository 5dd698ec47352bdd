//! A place in the log.

use std::fmt;

use bytes::Bytes;

use crate::error::Result;

/// The last entry of the log that has been applied. Orders by index: terms never go back along a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The entry's index; 0 before the first.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
}

impl Position {
    /// The entry `index` of `term`.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { index, term }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl Position {
    const INDEX: &'static [u8] = b"consistent_index";
    const TERM: &'static [u8] = b"term";

    /// The entries of the bucket `meta` that tell it (etcd, `server/storage/schema/cindex.go`).
    pub(crate) fn entries(self) -> [(Bytes, Bytes); 2] {
        let number = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
        [
            (Bytes::from_static(Self::INDEX), number(self.index)),
            (Bytes::from_static(Self::TERM), number(self.term)),
        ]
    }

    /// Reads it from the bucket `meta`; what is absent or not a number of eight bytes counts as 0, as in etcd.
    pub(crate) fn read(get: impl Fn(&[u8]) -> Result<Option<Bytes>>) -> Result<Self> {
        let number = |name: &[u8]| -> Result<u64> {
            let value = get(name)?;
            let bytes = value.and_then(|value| value.as_ref().try_into().ok());
            Ok(bytes.map_or(0, u64::from_be_bytes))
        };
        Ok(Self {
            index: number(Self::INDEX)?,
            term: number(Self::TERM)?,
        })
    }
}
