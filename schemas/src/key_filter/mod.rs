//! Which user keys a piece of rows may hold: asked before the piece is fetched.
//!
//! A filter never denies a key that is there, and says "perhaps" of one in 65,536 that is not. It knows whole keys, and
//! the beginnings of keys that end with `/`, which is how Kubernetes and most others lay out their keys: so a prefix is
//! looked for as well as a key. `formats/key-filter.md` has the byte table.

mod fuse;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::FormatError;
use crate::kv::key_of;
use crate::row::EncodedRows;
use fuse::Fuse;

/// Pieces with fewer plain bytes get no filter: reading them costs no more than reading the filter.
pub const MIN_FILTERED_BYTES: usize = 16 * 1024;
/// Beginnings that end with a later `/` than this are not in the filter.
const MAX_DEPTH: usize = 8;

/// Seeds that keep whole keys and beginnings apart.
const KEY: u64 = 0;
const PREFIX: u64 = 1;

/// Collects the keys of a piece.
#[derive(Clone, Debug, Default)]
pub struct KeyFilterBuilder {
    hashes: Vec<u64>,
}

impl KeyFilterBuilder {
    /// Adds one key; the same key may come again.
    pub fn add(&mut self, key: &[u8]) {
        self.hashes.push(xxh3_64_with_seed(key, KEY));
        for prefix in folders(key) {
            let hash = xxh3_64_with_seed(prefix, PREFIX);
            // Rows that follow each other often lie in one folder.
            let known = self.hashes.iter().rev().skip(1).take(MAX_DEPTH + 1);
            if !known.into_iter().any(|known| *known == hash) {
                self.hashes.push(hash);
            }
        }
    }

    /// The filter of all keys so far, which are forgotten. `None` when it could not be built; then every key may be there.
    pub fn finish(&mut self) -> Option<KeyFilter> {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.sort_unstable();
        hashes.dedup();
        Fuse::build(&hashes).map(KeyFilter)
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.hashes.clear();
    }
}

/// A filter of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFilter(Fuse);

impl KeyFilter {
    /// The filter of encoded rows; `None` where they are too few for one.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when they are no rows.
    pub fn of_rows(plain: &[u8]) -> Result<Option<Self>, FormatError> {
        if plain.len() < MIN_FILTERED_BYTES {
            return Ok(None);
        }
        let mut builder = KeyFilterBuilder::default();
        for row in EncodedRows::new(plain) {
            builder.add(key_of(row?.value)?);
        }
        Ok(builder.finish())
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Reads stored bytes. `None` for a kind of filter that this version does not know, which is as good as none.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the parts do not fit together.
    pub fn decode(bytes: &Bytes) -> Result<Option<Self>, FormatError> {
        Ok(Fuse::decode(bytes)?.map(Self))
    }

    /// Whether the key may be there; `false` is certain.
    pub fn may_hold(&self, key: &[u8]) -> bool {
        self.0.contains(xxh3_64_with_seed(key, KEY))
    }

    /// Whether a key that begins with `prefix` may be there; `false` is certain.
    pub fn may_hold_prefix(&self, prefix: &[u8]) -> bool {
        let folder = folders(prefix).last();
        folder.is_none_or(|folder| self.0.contains(xxh3_64_with_seed(folder, PREFIX)))
    }
}

/// The beginnings of a key that end with `/`, as many as filters know, shortest first.
fn folders(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    ends.take(MAX_DEPTH).filter_map(|(at, _)| key.get(..=at))
}

#[cfg(test)]
mod tests;
