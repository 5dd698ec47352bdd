//! Reads segments, whole or in parts.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::footer::{FOOTER_LEN, SegmentFooter};
use super::index::{Frame, SegmentIndex};
use crate::digest::RowDigest;
use crate::envelope::{Envelope, Identity};
use crate::kv::key_of;
use crate::manifest::unpack;
use crate::row::EncodedRows;
use crate::{FormatError, Revision};

/// The longest frame that a reader unpacks, in plain bytes. Frames have about 1 MiB, or one revision that is longer.
pub const MAX_FRAME_PLAIN_BYTES: u64 = 256 * 1024 * 1024;

/// A segment whose identity, index and footer were verified. Its frames are verified as they are read.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    bytes: Bytes,
    index: SegmentIndex,
}

impl SegmentReader {
    /// Opens a whole object.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is damaged or another object, [`FormatError::Unsupported`] when it is newer.
    pub fn open(bytes: Bytes, asked: &Identity) -> Result<Self, FormatError> {
        let index = Self::open_parts(&bytes, &bytes, bytes.len() as u64, asked)?;
        Ok(Self { bytes, index })
    }

    /// Reads the index from parts of an object of `object_len` bytes: its beginning, as far as
    /// [`SegmentFooter::frames_offset`], and its end, from [`SegmentFooter::index_offset`] or before.
    ///
    /// # Errors
    /// As [`SegmentReader::open`].
    pub fn open_parts(
        start: &[u8],
        tail: &[u8],
        object_len: u64,
        asked: &Identity,
    ) -> Result<SegmentIndex, FormatError> {
        let envelope = Envelope::decode(start)?;
        envelope.expect(asked)?;
        let footer = SegmentFooter::decode(tail, object_len)?;
        let short = || {
            FormatError::corrupt(
                "segment",
                object_len,
                "envelope and index",
                "a part of them",
            )
        };
        if footer.frames_offset != envelope.len as u64 {
            return Err(FormatError::corrupt(
                "segment footer",
                footer.index_offset,
                format!("frames from {}", envelope.len),
                footer.frames_offset.to_string(),
            ));
        }
        let head = start.get(..envelope.len).ok_or_else(short)?;
        let index_end = tail.len().checked_sub(FOOTER_LEN).ok_or_else(short)?;
        let index_len = usize::try_from(footer.index_len).map_err(|_| short())?;
        let index_start = index_end.checked_sub(index_len).ok_or_else(short)?;
        let index = tail.get(index_start..index_end).ok_or_else(short)?;
        footer.check(head, index, tail)?;
        SegmentIndex::decode(
            index,
            (asked.first, asked.last),
            (footer.frames_offset, footer.index_offset),
        )
    }

    /// The whole object.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it says about its rows.
    pub fn index(&self) -> &SegmentIndex {
        &self.index
    }

    /// The index alone.
    pub fn into_index(self) -> SegmentIndex {
        self.index
    }

    /// The encoded rows of one frame of its index.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the frame is damaged.
    pub fn frame(&self, frame: &Frame) -> Result<Vec<u8>, FormatError> {
        let mut plain = Vec::new();
        self.frame_into(frame, &mut plain)?;
        Ok(plain)
    }

    /// [`SegmentReader::frame`] into a buffer that is used again; what it held is gone.
    ///
    /// # Errors
    /// As [`SegmentReader::frame`].
    pub fn frame_into(&self, frame: &Frame, plain: &mut Vec<u8>) -> Result<(), FormatError> {
        let start = usize::try_from(frame.offset).unwrap_or(usize::MAX);
        let end = usize::try_from(frame.offset.saturating_add(frame.stored_len));
        let stored = self
            .bytes
            .get(start..end.unwrap_or(usize::MAX))
            .ok_or_else(|| {
                FormatError::corrupt("segment", frame.offset, "a frame", "the end of the object")
            })?;
        Self::decode_frame(frame, stored, plain)
    }

    /// Unpacks the bytes of one frame that was fetched alone, in place of what `plain` held.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when they are damaged.
    pub fn decode_frame(
        frame: &Frame,
        stored: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        if Sha256::digest(stored).as_slice() != frame.sha256 {
            return Err(FormatError::corrupt(
                "segment",
                frame.offset,
                "a frame with the SHA-256 of its index",
                "another: it is damaged",
            ));
        }
        unpack(
            stored,
            frame.plain_len,
            MAX_FRAME_PLAIN_BYTES,
            "segment frame",
            plain,
        )
    }

    /// Reads everything and compares it with the index: every revision is there, rows are in order, counts and the
    /// digest are right, and no frame hides a key that it has. Memory is that of one frame.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when anything differs.
    pub fn verify(&self) -> Result<(), FormatError> {
        let mut digest = RowDigest::default();
        let mut plain = Vec::new();
        for frame in &self.index.frames {
            self.frame_into(frame, &mut plain)?;
            let mut rows = 0_u64;
            let mut last = None;
            let mut next = frame.first;
            for row in EncodedRows::new(&plain) {
                let row = row?;
                let revision = row.key.main;
                let place = (revision, row.key.sub);
                let follows = revision == next || (last.is_some() && revision.next() == next);
                if !follows || last.is_some_and(|last| place <= last) {
                    return Err(wrong(frame, &format!("revision {next}"), revision));
                }
                if !frame.may_hold(key_of(row.value)?) {
                    return Err(FormatError::corrupt(
                        "segment frame",
                        frame.offset,
                        "bounds and a filter with all keys",
                        format!("a key of revision {revision} outside of them"),
                    ));
                }
                next = revision.next();
                last = Some(place);
                rows += 1;
                digest.add(&row);
            }
            if next != frame.last.next() || rows != frame.rows {
                return Err(wrong(
                    frame,
                    &format!("{} rows to {}", frame.rows, frame.last),
                    next,
                ));
            }
        }
        if digest != self.index.digest {
            return Err(FormatError::corrupt(
                "segment",
                0,
                format!("rows with digest {}", self.index.digest),
                digest.to_string(),
            ));
        }
        Ok(())
    }
}

fn wrong(frame: &Frame, expected: &str, found: Revision) -> FormatError {
    FormatError::corrupt(
        "segment frame",
        frame.offset,
        expected,
        format!("revision {found}"),
    )
}
