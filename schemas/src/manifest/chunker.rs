//! Cuts rows into chunks, at boundaries that depend on the rows alone.
//!
//! A row never changes and a later base differs from an earlier one by rows that compaction took away and rows that
//! were added, so boundaries that are a property of single rows come back in the next base and with them the chunks.
//! A row of `s` encoded bytes ends a chunk when the XXH3-64 of its row key, as a fraction of 2^64, is below
//! `s / target`: the expected distance of boundaries is `target` bytes whatever the size of the rows. No chunk ends
//! before `min` bytes, and none grows past `max` bytes unless a single row does.

use xxhash_rust::xxh3::xxh3_64;

use super::ChunkHash;
use crate::digest::RowDigest;
use crate::{FormatError, Revision, Row};

/// Sizes of chunks, in plain bytes. They are part of no format; but bases share chunks only where they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkerOptions {
    /// No boundary before so many bytes.
    pub min_bytes: usize,
    /// The expected distance of boundaries after that.
    pub target_bytes: usize,
    /// A boundary at the latest before this is passed.
    pub max_bytes: usize,
}

impl Default for ChunkerOptions {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            min_bytes: MIB,
            target_bytes: 4 * MIB,
            max_bytes: 16 * MIB,
        }
    }
}

/// A finished chunk, before compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainChunk {
    /// Its encoded rows.
    pub plain: Vec<u8>,
    /// The revision of its first row.
    pub first: Revision,
    /// The revision of its last row.
    pub last: Revision,
    /// How many rows it has.
    pub rows: u64,
    /// The digest of its rows.
    pub digest: RowDigest,
}

impl PlainChunk {
    /// Its name. Costs a pass over the rows.
    pub fn hash(&self) -> ChunkHash {
        ChunkHash::of(&self.plain)
    }
}

/// Takes rows in order and gives chunks.
#[derive(Debug)]
pub struct Chunker {
    options: ChunkerOptions,
    open: Option<PlainChunk>,
}

impl Chunker {
    /// Begins with the first row.
    pub fn new(options: ChunkerOptions) -> Self {
        Self {
            options,
            open: None,
        }
    }

    /// Takes the next row. At most one chunk is finished by it: the one before, when the row would make it too long,
    /// or the one that it ends.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for a row that is too long for any chunk.
    pub fn push(&mut self, row: &Row<'_>) -> Result<Option<PlainChunk>, FormatError> {
        let size = row.encoded_len();
        if size as u64 > super::MAX_CHUNK_PLAIN_BYTES {
            return Err(FormatError::unsupported(
                format!("row {}.{}", row.key.main, row.key.sub),
                format!("it has {size} bytes, more than a chunk can hold"),
            ));
        }
        let full = self
            .open
            .as_ref()
            .is_some_and(|open| open.plain.len() + size > self.options.max_bytes);
        let before = if full { self.open.take() } else { None };
        let open = self.open.get_or_insert_with(|| PlainChunk {
            plain: Vec::new(),
            first: row.key.main,
            last: row.key.main,
            rows: 0,
            digest: RowDigest::default(),
        });
        row.append_to(&mut open.plain)?;
        open.last = row.key.main;
        open.rows += 1;
        open.digest.add(row);
        if before.is_some() {
            return Ok(before);
        }
        let ends = open.plain.len() >= self.options.min_bytes && self.is_boundary(row, size);
        Ok(if ends { self.open.take() } else { None })
    }

    /// The last chunk, if any row is left.
    pub fn finish(self) -> Option<PlainChunk> {
        self.open
    }

    fn is_boundary(&self, row: &Row<'_>, size: usize) -> bool {
        let fraction = u128::from(xxh3_64(&row.key.encode())) * self.options.target_bytes as u128;
        fraction < (size as u128) << 64
    }
}
