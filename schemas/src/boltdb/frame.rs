//! One branch page on the way from a bucket's root to a leaf.

use super::{
    page::{BRANCH, ELEMENT_LEN, HEADER_LEN, u32_at, u64_at},
    window::PageFile,
};
use crate::FormatError;

/// A branch page, and which of its children the cursor is in. The buffer is reused for the next page of its level.
#[derive(Debug, Default)]
pub(super) struct Frame {
    page: Vec<u8>,
    len: usize,
    offset: u64,
    count: usize,
    index: usize,
}

impl Frame {
    /// Reads page `id` if it is a branch page, and gives whether it is; `from` is the offset of what refers to it.
    pub(super) fn load(
        &mut self,
        file: &PageFile,
        id: u64,
        from: u64,
    ) -> Result<bool, FormatError> {
        let offset = file.offset_of(id, from)?;
        file.read(&mut self.page, offset, file.page_size)?;
        let (header, len) = file.check_header(&self.page, id, offset)?;
        if header.flags != BRANCH {
            return Ok(false);
        }
        let count = usize::from(header.count);
        if count == 0 || HEADER_LEN + count * ELEMENT_LEN > len {
            let expected = format!("1 to {} elements", (len - HEADER_LEN) / ELEMENT_LEN);
            return Err(file.corrupt(offset + 10, expected, count.to_string()));
        }
        if len > file.page_size {
            file.read(&mut self.page, offset, len)?;
        }
        (self.len, self.offset, self.count, self.index) = (len, offset, count, 0);
        Ok(true)
    }

    fn element(&self, file: &PageFile, index: usize) -> Result<(&[u8], u64), FormatError> {
        let head = HEADER_LEN + index * ELEMENT_LEN;
        let page = self.page.get(..self.len).unwrap_or_default();
        let read = || {
            let pos = u32_at(page, head)? as usize;
            let len = u32_at(page, head + 4)? as usize;
            let child = u64_at(page, head + 8)?;
            let start = head.checked_add(pos)?;
            let key = page.get(start..start.checked_add(len)?)?;
            (pos >= (self.count - index) * ELEMENT_LEN).then_some((key, child))
        };
        read().ok_or_else(|| {
            let place = self.offset + head as u64;
            file.corrupt(
                place,
                "a branch element whose key lies in its page",
                "one that leaves it",
            )
        })
    }

    /// The child that the cursor is in, and the offset of the element that names it.
    pub(super) fn child(&self, file: &PageFile) -> Result<(u64, u64), FormatError> {
        let (_, child) = self.element(file, self.index)?;
        Ok((
            child,
            self.offset + (HEADER_LEN + self.index * ELEMENT_LEN + 8) as u64,
        ))
    }

    /// The least key that the current child may hold.
    pub(super) fn lower(&self, file: &PageFile) -> Result<&[u8], FormatError> {
        Ok(self.element(file, self.index)?.0)
    }

    /// The key that the current child's keys stay below, unless it is the last.
    pub(super) fn upper(&self, file: &PageFile) -> Result<Option<&[u8]>, FormatError> {
        if self.index + 1 >= self.count {
            return Ok(None);
        }
        Ok(Some(self.element(file, self.index + 1)?.0))
    }

    /// Moves to the next child; `false` if there is none.
    pub(super) fn advance(&mut self) -> bool {
        self.index += 1;
        self.index < self.count
    }

    /// Moves to the child that holds `key` if any does: the last whose first key is not above it.
    pub(super) fn choose(&mut self, file: &PageFile, key: &[u8]) -> Result<(), FormatError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.element(file, middle)?.0 <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.index = low.saturating_sub(1);
        Ok(())
    }

    /// Moves to the last child.
    pub(super) fn choose_last(&mut self) {
        self.index = self.count.saturating_sub(1);
    }
}
