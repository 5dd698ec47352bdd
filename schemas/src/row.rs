//! Rows: the entries of etcd's `key` bucket, and their encoding in Revkeep's chunks and frames.
//!
//! A row's key is 17 bytes, `main` as a big-endian u64, `_`, `sub` as a big-endian u64, and an 18th byte `t` when the
//! row is a tombstone (etcd, `server/storage/mvcc/revision.go`). Its value is a marshalled `mvccpb.KeyValue`.
//!
//! | bytes | field of one encoded row |
//! |---|---|
//! | 1 | length of the row key: 17, or 18 for a tombstone |
//! | 17 or 18 | the row key, as etcd stores it |
//! | 4 | length of the value, little-endian |
//! | n | the value, as etcd stores it |

use crate::{FormatError, Revision};

/// Length of a row key that is not a tombstone.
pub const ROW_KEY_LEN: usize = 17;
/// Length of a tombstone's row key.
pub const TOMBSTONE_KEY_LEN: usize = 18;

/// The key of a row: where in history it stands, and whether it deletes.
///
/// The derived order is the byte order of the encoded keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The revision of the write transaction.
    pub main: Revision,
    /// The index of the change inside its transaction.
    pub sub: i64,
    /// Whether the row marks a deletion.
    pub tombstone: bool,
}

impl RowKey {
    /// The bytes that etcd stores, without a tombstone's mark: see [`RowKey::encode`].
    fn encoded(self) -> [u8; TOMBSTONE_KEY_LEN] {
        let mut bytes = [b't'; TOMBSTONE_KEY_LEN];
        let (main, rest) = bytes.split_at_mut(8);
        main.copy_from_slice(&self.main.0.to_be_bytes());
        let (mark, rest) = rest.split_at_mut(1);
        mark.copy_from_slice(b"_");
        let (sub, _) = rest.split_at_mut(8);
        sub.copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// The number of bytes of the encoded key.
    #[must_use]
    pub const fn encoded_len(self) -> usize {
        if self.tombstone {
            TOMBSTONE_KEY_LEN
        } else {
            ROW_KEY_LEN
        }
    }

    /// The key as etcd stores it, on the stack.
    #[must_use]
    pub fn encode(self) -> EncodedRowKey {
        EncodedRowKey {
            bytes: self.encoded(),
            len: self.encoded_len(),
        }
    }

    /// Reads a key as etcd stores it.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the bytes are not a row key.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wrong = |expected: &str| {
            FormatError::corrupt(
                "row key",
                0,
                expected,
                format!("{} bytes {bytes:02x?}", bytes.len()),
            )
        };
        let (Some(main), Some(b'_'), Some(sub)) = (
            bytes.first_chunk::<8>(),
            bytes.get(8),
            bytes.get(9..ROW_KEY_LEN),
        ) else {
            return Err(wrong("main (8 bytes), '_', sub (8 bytes)"));
        };
        let tombstone = match bytes.get(ROW_KEY_LEN..) {
            Some([]) => false,
            Some(b"t") => true,
            _ => return Err(wrong("17 bytes, or 18 that end with 't'")),
        };
        let main = i64::from_be_bytes(*main);
        let sub = sub
            .try_into()
            .map(i64::from_be_bytes)
            .map_err(|_| wrong("8 bytes of sub"))?;
        if main < 0 || sub < 0 {
            return Err(wrong("numbers that are not negative"));
        }
        Ok(Self {
            main: Revision(main),
            sub,
            tombstone,
        })
    }
}

/// A row key as etcd stores it; dereferences to its 17 or 18 bytes.
#[derive(Clone, Copy, Debug)]
pub struct EncodedRowKey {
    bytes: [u8; TOMBSTONE_KEY_LEN],
    len: usize,
}

impl std::ops::Deref for EncodedRowKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// A borrowed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its place in history.
    pub key: RowKey,
    /// The marshalled `mvccpb.KeyValue`, byte for byte as etcd stores it.
    pub value: &'a [u8],
}

impl Row<'_> {
    /// The number of bytes that [`Row::append_to`] adds.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        1 + self.key.encoded_len() + 4 + self.value.len()
    }

    /// Appends the row in Revkeep's encoding.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for a value of 4 GiB or more, which etcd cannot hold either.
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let len = u32::try_from(self.value.len())
            .map_err(|_| FormatError::unsupported("row", "its value has 4 GiB or more"))?;
        let key = self.key.encode();
        out.reserve(self.encoded_len());
        out.push(if self.key.tombstone { 18 } else { 17 });
        out.extend_from_slice(&key);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(self.value);
        Ok(())
    }

    /// An owned copy.
    #[must_use]
    pub fn to_buf(&self) -> RowBuf {
        RowBuf {
            key: self.key,
            value: self.value.to_vec().into(),
        }
    }
}

/// An owned row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowBuf {
    /// Its place in history.
    pub key: RowKey,
    /// The marshalled `mvccpb.KeyValue`.
    pub value: bytes::Bytes,
}

impl RowBuf {
    /// Borrows it.
    #[must_use]
    pub fn as_row(&self) -> Row<'_> {
        Row {
            key: self.key,
            value: &self.value,
        }
    }
}

/// Rows in ascending order of their keys, one at a time: what readers give and writers take. The row is borrowed from
/// the source's buffer, so that streaming copies nothing; memory stays flat.
pub trait RowSource {
    /// What can go wrong.
    type Error;

    /// The next row, or `None` at the end.
    fn next_row(&mut self) -> Result<Option<Row<'_>>, Self::Error>;
}

/// Reads the encoded rows of one chunk or frame.
#[derive(Debug)]
pub struct EncodedRows<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> EncodedRows<'a> {
    /// Starts at the first byte of an encoded run of rows.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// How far it has read, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    fn take(&mut self, len: usize, expected: &str) -> Result<&'a [u8], FormatError> {
        let end = self.offset.checked_add(len);
        let taken = end
            .and_then(|end| self.bytes.get(self.offset..end))
            .ok_or_else(|| {
                let left = self.bytes.len().saturating_sub(self.offset);
                FormatError::corrupt(
                    "rows",
                    self.offset as u64,
                    expected,
                    format!("{left} bytes before the end"),
                )
            })?;
        self.offset += len;
        Ok(taken)
    }

    fn read(&mut self) -> Result<Row<'a>, FormatError> {
        let start = self.offset as u64;
        let len = match self.take(1, "the length of a row key")? {
            [17] => ROW_KEY_LEN,
            [18] => TOMBSTONE_KEY_LEN,
            other => {
                return Err(FormatError::corrupt(
                    "rows",
                    start,
                    "17 or 18",
                    format!("{other:?}"),
                ));
            }
        };
        let key = RowKey::decode(self.take(len, "a row key")?)?;
        let len = self.take(4, "the length of a value")?;
        let len = len.try_into().map_or(u32::MAX, u32::from_le_bytes);
        let value = self.take(len as usize, "a value")?;
        Ok(Row { key, value })
    }
}

impl<'a> Iterator for EncodedRows<'a> {
    type Item = Result<Row<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        let row = self.read();
        if row.is_err() {
            self.offset = self.bytes.len();
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = RowKey> {
        (0..i64::MAX, 0..i64::MAX, any::<bool>()).prop_map(|(main, sub, tombstone)| RowKey {
            main: Revision(main),
            sub,
            tombstone,
        })
    }

    proptest! {
        #[test]
        fn a_row_key_survives_the_round_trip(key in keys()) {
            prop_assert_eq!(RowKey::decode(&key.encode()).unwrap(), key);
        }

        #[test]
        fn row_keys_sort_as_their_bytes(a in keys(), b in keys()) {
            prop_assert_eq!(a.cmp(&b), a.encode().cmp(&*b.encode()));
        }

        #[test]
        fn rows_survive_the_round_trip(
            rows in proptest::collection::vec((keys(), proptest::collection::vec(any::<u8>(), 0..99)), 0..9)
        ) {
            let mut bytes = Vec::new();
            for (key, value) in &rows {
                Row { key: *key, value }.append_to(&mut bytes).unwrap();
            }
            let read: Vec<_> = EncodedRows::new(&bytes).map(|row| row.unwrap().to_buf()).collect();
            let written: Vec<_> =
                rows.into_iter().map(|(key, value)| RowBuf { key, value: value.into() }).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn any_bytes_end_in_rows_or_one_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let rows: Vec<_> = EncodedRows::new(&bytes).collect();
            let errors = rows.iter().filter(|row| row.is_err()).count();
            prop_assert!(errors <= 1 && (errors == 0 || rows.last().unwrap().is_err()));
        }
    }
}
