//! A bucket: a named tree of entries.

use std::sync::Arc;

use super::{
    cursor::{Cursor, Root},
    page::u64_at,
    window::PageFile,
};
use crate::FormatError;

/// Bytes of the bucket header: root page, then sequence (bbolt, `internal/common/bucket.go`).
pub(super) const BUCKET_HEADER_LEN: usize = 16;

/// One bucket of an open file.
#[derive(Clone, Debug)]
pub struct Bucket {
    file: Arc<PageFile>,
    root: Root,
}

impl Bucket {
    /// Reads a bucket from the value of its entry, whose element is at `from` in the file.
    pub(super) fn read(file: Arc<PageFile>, value: &[u8], from: u64) -> Result<Self, FormatError> {
        let (Some(page), Some(inline)) = (u64_at(value, 0), value.get(BUCKET_HEADER_LEN..)) else {
            let found = format!("{} bytes", value.len());
            return Err(file.corrupt(from, "a bucket header of 16 bytes", found));
        };
        let root = if page == 0 {
            Root::Inline(inline.into(), from)
        } else {
            Root::Page(page, from)
        };
        Ok(Self { file, root })
    }

    /// A cursor before the first entry. It shares the open file and borrows nothing.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(Arc::clone(&self.file), self.root.clone())
    }

    /// The value of `key`, copied.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, FormatError> {
        let mut cursor = self.cursor();
        cursor.seek(key)?;
        let entry = cursor.next_entry()?;
        Ok(entry
            .filter(|(found, _)| *found == key)
            .map(|(_, value)| value.to_vec()))
    }
}
