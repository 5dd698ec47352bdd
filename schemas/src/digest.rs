//! The row digest: what a set of rows adds up to.
//!
//! It is the sum, modulo 2^128, of XXH3-128 (seed 0) over row key and value of each row. A sum has no order, so sets of
//! rows are compared, merged and cut by addition and subtraction. It proves that two *sets of rows* are equal when
//! nobody tampers; integrity of stored bytes is SHA-256's work.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::Row;

/// Rows up to this many bytes are hashed in one piece on the stack.
const SMALL_BYTES: usize = 512;

/// The digest of a set of rows. The default is the digest of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowDigest(pub u128);

impl RowDigest {
    /// Adds one row.
    pub fn add(&mut self, row: &Row<'_>) {
        self.0 = self.0.wrapping_add(hash(row));
    }

    /// Takes one row away that was added before.
    pub fn remove(&mut self, row: &Row<'_>) {
        self.0 = self.0.wrapping_sub(hash(row));
    }

    /// The digest of both sets together; a row in both counts twice.
    #[must_use]
    pub const fn combine(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// The digest of this set without the rows of `other`, all of which it holds.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// Sixteen bytes, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From sixteen bytes, big-endian.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for RowDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn hash(row: &Row<'_>) -> u128 {
    let key = row.key.encode();
    let mut small = [0_u8; SMALL_BYTES];
    let len = key.len() + row.value.len();
    if let Some(buffer) = small.get_mut(..len) {
        let (head, tail) = buffer.split_at_mut(key.len());
        head.copy_from_slice(&key);
        tail.copy_from_slice(row.value);
        return xxh3_128(buffer);
    }
    let mut state = Xxh3::new();
    state.update(&key);
    state.update(row.value);
    state.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Revision, RowKey};
    use proptest::prelude::*;

    fn rows() -> impl Strategy<Value = Vec<(RowKey, Vec<u8>)>> {
        let key = (0..99_i64, 0..9_i64, any::<bool>()).prop_map(|(main, sub, tombstone)| RowKey {
            main: Revision(main),
            sub,
            tombstone,
        });
        proptest::collection::vec((key, proptest::collection::vec(any::<u8>(), 0..900)), 0..12)
    }

    fn digest(rows: &[(RowKey, Vec<u8>)]) -> RowDigest {
        rows.iter()
            .fold(RowDigest::default(), |mut digest, (key, value)| {
                digest.add(&Row { key: *key, value });
                digest
            })
    }

    proptest! {
        #[test]
        fn order_and_batches_do_not_matter(rows in rows(), cut in 0..12_usize) {
            let (left, right) = rows.split_at(cut.min(rows.len()));
            let mut reversed = rows.clone();
            reversed.reverse();
            prop_assert_eq!(digest(left).combine(digest(right)), digest(&rows));
            prop_assert_eq!(digest(&rows).without(digest(right)), digest(left));
            prop_assert_eq!(digest(&reversed), digest(&rows));
        }

        #[test]
        fn removing_undoes_adding(rows in rows()) {
            let mut sum = digest(&rows);
            for (key, value) in &rows {
                sum.remove(&Row { key: *key, value });
            }
            prop_assert_eq!(sum, RowDigest::default());
        }

        #[test]
        fn a_row_is_hashed_as_its_key_and_value_joined(rows in rows()) {
            for (key, value) in rows {
                let joined = [&key.encode()[..], &value].concat();
                prop_assert_eq!(hash(&Row { key, value: &value }), xxh3_128(&joined));
            }
        }
    }

    #[test]
    fn bytes_and_hex_are_big_endian() {
        let digest = RowDigest(0x0102);
        assert_eq!(digest.to_bytes()[14..], [1, 2]);
        assert_eq!(RowDigest::from_bytes(digest.to_bytes()), digest);
        assert_eq!(digest.to_string(), format!("{:032x}", 0x0102));
    }
}
