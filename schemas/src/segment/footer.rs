//! The last 64 bytes of a segment.

use sha2::{Digest, Sha256};

use super::index::MAX_INDEX_LEN;
use crate::FormatError;

/// Bytes of the footer.
pub const FOOTER_LEN: usize = 64;
/// The last 8 bytes of every segment.
const END_MAGIC: [u8; 8] = *b"RKSEGEND";
/// Bytes of the footer that its hash covers.
const COVERED_LEN: usize = 24;

/// Where the parts of a segment are, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFooter {
    /// Where the envelope ends and the first frame begins.
    pub frames_offset: u64,
    /// Where the frames end and the index begins.
    pub index_offset: u64,
    /// Bytes of the index.
    pub index_len: u64,
}

impl SegmentFooter {
    fn covered(self) -> [u8; COVERED_LEN] {
        let mut out = [0; COVERED_LEN];
        let numbers = [self.frames_offset, self.index_offset, self.index_len];
        for (slot, number) in out.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    fn hash(self, envelope: &[u8], index: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(envelope);
        hasher.update(index);
        hasher.update(self.covered());
        hasher.finalize().into()
    }

    /// The bytes of the footer.
    pub(crate) fn encode(self, envelope: &[u8], index: &[u8]) -> Vec<u8> {
        let mut out = self.covered().to_vec();
        out.extend_from_slice(&self.hash(envelope, index));
        out.extend_from_slice(&END_MAGIC);
        out
    }

    /// Reads the footer from the end of `tail`, which ends where the object of `object_len` bytes ends. The hash is not
    /// checked yet: that takes envelope and index.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no footer, or its parts do not fill the object.
    pub fn decode(tail: &[u8], object_len: u64) -> Result<Self, FormatError> {
        let wrong = |expected: &str, found: String| {
            let at = object_len.saturating_sub(FOOTER_LEN as u64);
            Err(FormatError::corrupt("segment footer", at, expected, found))
        };
        let Some(footer) = tail.last_chunk::<FOOTER_LEN>() else {
            return wrong("64 bytes", format!("{}", tail.len()));
        };
        if footer.last_chunk() != Some(&END_MAGIC) {
            return wrong(
                "the end mark \"RKSEGEND\"",
                "another: it is cut short".into(),
            );
        }
        let mut numbers = footer
            .chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok())
            .map(u64::from_le_bytes);
        let mut next = || numbers.next().unwrap_or(u64::MAX);
        let read = Self {
            frames_offset: next(),
            index_offset: next(),
            index_len: next(),
        };
        let end = read.index_offset.checked_add(read.index_len);
        let end = end.and_then(|end| end.checked_add(FOOTER_LEN as u64));
        if end != Some(object_len)
            || read.frames_offset > read.index_offset
            || read.index_len > MAX_INDEX_LEN
        {
            return wrong(
                "parts that fill the object",
                format!("{read:?}, {object_len} bytes"),
            );
        }
        Ok(read)
    }

    /// Checks the hash over envelope and index, which the caller cut out as the footer says.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when any of them is damaged.
    pub(crate) fn check(
        self,
        envelope: &[u8],
        index: &[u8],
        tail: &[u8],
    ) -> Result<(), FormatError> {
        let stored = tail
            .last_chunk::<FOOTER_LEN>()
            .and_then(|footer| footer.get(COVERED_LEN..COVERED_LEN + 32));
        if stored == Some(self.hash(envelope, index).as_slice()) {
            return Ok(());
        }
        Err(FormatError::corrupt(
            "segment footer",
            self.index_offset + self.index_len,
            "the SHA-256 of envelope, index and footer",
            "another: the segment is damaged",
        ))
    }
}
