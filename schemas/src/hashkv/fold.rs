//! The bare fold.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

use crate::Row;

/// Small pieces are gathered up to this many bytes: CRC-32C is fast on long runs.
const BUFFER_BYTES: usize = 16 * 1024;
/// Values from this size on are folded where they lie.
const LARGE_BYTES: usize = 4 * 1024;

/// The running hash over the rows given to it, whatever they are. [`HashView`](super::HashView) decides which count.
#[derive(Clone)]
pub struct HashKv {
    crc: Digest,
    buffer: Vec<u8>,
}

impl HashKv {
    /// Starts with the name of the bucket, so that no rows hash to `0x40a4756d`.
    #[must_use]
    pub fn new() -> Self {
        let mut hash = Self::continued();
        hash.crc.update(b"key");
        hash
    }

    /// Starts in the middle: with the first row after those of another fold, which takes it by [`HashKv::join`].
    #[must_use]
    pub fn continued() -> Self {
        Self {
            crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
            buffer: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Appends the rows of a fold that was [continued](HashKv::continued) after this one's: the sum is that of one fold
    /// over both, since a CRC of joined bytes follows from both CRCs and the length of the second.
    pub fn join(&mut self, mut next: Self) {
        self.flush();
        next.flush();
        self.crc.combine(&next.crc);
    }

    /// Folds in one row.
    pub fn update(&mut self, row: &Row<'_>) {
        let key = row.key.encode();
        let large = row.value.len() >= LARGE_BYTES;
        let buffered = key.len() + if large { 0 } else { row.value.len() };
        if self.buffer.len() + buffered > BUFFER_BYTES {
            self.flush();
        }
        self.buffer.extend_from_slice(&key);
        if large {
            self.flush();
            self.crc.update(row.value);
        } else {
            self.buffer.extend_from_slice(row.value);
        }
    }

    /// The hash, as `HashKVResponse.hash` carries it.
    #[must_use]
    pub fn finish(mut self) -> u32 {
        self.flush();
        // CRC-32C has 32 bits; the crate gives every width as u64.
        u32::try_from(self.crc.finalize()).unwrap_or(u32::MAX)
    }

    fn flush(&mut self) {
        self.crc.update(&self.buffer);
        self.buffer.clear();
    }
}

impl Default for HashKv {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HashKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashKv")
            .field("state", &self.crc.get_state())
            .field("buffered_bytes", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
