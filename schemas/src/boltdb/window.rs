//! The pages of an open file, and a window of bytes read ahead of a cursor.

use std::{fs::File, ops::Range, os::unix::fs::FileExt};

use super::page::{BRANCH, FIRST_TREE_PAGE, LEAF, PageHeader};
use crate::FormatError;

/// The largest read ahead, in bytes: few enough to be in the processor's cache still when they are looked at.
const MOST_AHEAD: usize = 256 << 10;
/// The read ahead after a jump, in bytes; each sequential read doubles it.
const LEAST_AHEAD: usize = 16 << 10;

/// An open db file whose page size and extent are known.
#[derive(Debug)]
pub(super) struct PageFile {
    /// Read with positioned reads only.
    pub(super) file: File,
    /// Its name, for errors.
    pub(super) what: String,
    /// Bytes of a page.
    pub(super) page_size: usize,
    /// One above the highest page in use; all pages below lie inside the file.
    pub(super) high_water: u64,
}

impl PageFile {
    /// An error about the byte at `offset`.
    #[cold]
    pub(super) fn corrupt(
        &self,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> FormatError {
        FormatError::corrupt(self.what.clone(), offset, expected, found)
    }

    /// Bytes of all pages in use.
    fn len(&self) -> u64 {
        self.high_water.saturating_mul(self.page_size as u64)
    }

    /// Where tree page `id` starts; `from` is the offset of what refers to it.
    pub(super) fn offset_of(&self, id: u64, from: u64) -> Result<u64, FormatError> {
        if (FIRST_TREE_PAGE..self.high_water).contains(&id) {
            return Ok(id * self.page_size as u64);
        }
        Err(self.corrupt(
            from,
            format!(
                "a page number from 2 to {}",
                self.high_water.saturating_sub(1)
            ),
            id.to_string(),
        ))
    }

    /// Checks the header of tree page `id` and gives it, with the bytes of the page and its overflow.
    pub(super) fn check_header(
        &self,
        page: &[u8],
        id: u64,
        offset: u64,
    ) -> Result<(PageHeader, usize), FormatError> {
        let header = PageHeader::read(page)
            .ok_or_else(|| self.corrupt(offset, "a page header", "fewer than 16 bytes"))?;
        if header.id != id {
            let expected = format!("the header of page {id}");
            return Err(self.corrupt(offset, expected, format!("page number {}", header.id)));
        }
        if header.flags != LEAF && header.flags != BRANCH {
            let found = format!("page flags {:#06x}", header.flags);
            return Err(self.corrupt(offset + 8, "a leaf (0x02) or branch (0x01) page", found));
        }
        let pages = u64::from(header.overflow) + 1;
        let bytes = usize::try_from(pages.saturating_mul(self.page_size as u64));
        match bytes {
            Ok(bytes) if id.saturating_add(pages) <= self.high_water => Ok((header, bytes)),
            _ => Err(self.corrupt(
                offset + 12,
                format!("at most {} overflow pages", self.high_water - id - 1),
                header.overflow.to_string(),
            )),
        }
    }

    /// Reads `len` bytes at `offset` to the front of `buf`, which grows to that if it is shorter.
    pub(super) fn read(
        &self,
        buf: &mut Vec<u8>,
        offset: u64,
        len: usize,
    ) -> Result<(), FormatError> {
        let what = || format!("{}: read {len} bytes at {offset}", self.what);
        if buf.len() < len {
            buf.try_reserve_exact(len - buf.len())
                .map_err(|_| FormatError::unsupported(what(), "not enough memory"))?;
            buf.resize(len, 0);
        }
        match buf.get_mut(..len) {
            Some(room) => self
                .file
                .read_exact_at(room, offset)
                .map_err(|e| FormatError::io(what())(e)),
            None => Ok(()),
        }
    }
}

/// Bytes of the file from one offset on: reads ahead while it is asked for ascending offsets, and little after a jump.
#[derive(Debug, Default)]
pub(super) struct Window {
    buf: Vec<u8>,
    start: u64,
    filled: usize,
    ahead: usize,
}

impl Window {
    /// The bytes read last; ranges that [`Window::fill`] gave index into it until it is called again.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Makes the `need` bytes at `offset` available. The caller has checked that they are inside the file.
    pub(super) fn fill(
        &mut self,
        file: &PageFile,
        offset: u64,
        need: usize,
    ) -> Result<Range<usize>, FormatError> {
        let at = offset
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(at) = at
            && let Some(end) = at.checked_add(need)
            && end <= self.filled
        {
            return Ok(at..end);
        }
        let sequential = at.is_some_and(|at| self.filled > 0 && at <= self.filled + self.ahead);
        self.ahead = if sequential {
            (self.ahead * 2).min(MOST_AHEAD)
        } else {
            LEAST_AHEAD
        };
        let rest = usize::try_from(file.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = self.ahead.min(rest).max(need);
        if self.buf.len() > MOST_AHEAD && len <= MOST_AHEAD {
            self.buf = Vec::new();
        }
        self.filled = 0;
        file.read(&mut self.buf, offset, len)?;
        self.start = offset;
        self.filled = len;
        Ok(0..need)
    }

    /// Holds the bytes of an inline bucket instead of a part of the file.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.filled = 0;
        self.buf.clear();
        self.buf.extend_from_slice(bytes);
    }
}
