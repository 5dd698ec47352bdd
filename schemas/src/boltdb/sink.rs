//! The end of the file that is being written.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::{
    meta::Meta, page::FIRST_TREE_PAGE, trailer::digest, unsynced::UnsyncedDb, writeback::Writeback,
};
use crate::FormatError;

/// Bytes gathered before a write: few enough to be in the processor's cache still when the system copies them.
const BUFFER_LEN: usize = 256 << 10;

/// Appends pages to a new file through a buffer, and writes the metas in front when all is there.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    what: String,
    page_size: usize,
    buf: Vec<u8>,
    /// The page that the next byte after the buffer starts, when on a boundary.
    next_page: u64,
    writeback: Writeback,
    broken: bool,
}

/// What is known of a file when all is written.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) pages: u64,
    pub(super) file: UnsyncedDb,
}

impl Sink {
    /// Creates the file with mode 0600, as etcd does; it must not exist.
    pub(super) fn create(path: &Path, page_size: usize) -> Result<Self, FormatError> {
        let what = path.display().to_string();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options
            .open(path)
            .map_err(FormatError::io(format!("{what}: create")))?;
        let metas = page_size.saturating_mul(2);
        let mut buf = Vec::with_capacity(BUFFER_LEN.max(metas) + page_size);
        buf.resize(metas, 0);
        Ok(Self {
            file,
            what,
            page_size,
            buf,
            next_page: FIRST_TREE_PAGE,
            writeback: Writeback::default(),
            broken: false,
        })
    }

    /// Bytes of a page.
    pub(super) fn page_size(&self) -> usize {
        self.page_size
    }

    /// An error of the caller's.
    pub(super) fn misuse(&self, reason: impl Into<String>) -> FormatError {
        FormatError::misuse(format!("{}: write", self.what), reason)
    }

    /// Starts a run of `pages` pages and gives its number; exactly its bytes must be appended next.
    pub(super) fn begin_run(&mut self, pages: u64) -> u64 {
        let id = self.next_page;
        self.next_page += pages;
        id
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        if self.buf.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
            if bytes.len() >= BUFFER_LEN {
                return self.write(bytes);
            }
        }
        self.buf.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends fewer than a page of zeros.
    pub(super) fn pad(&mut self, len: usize) {
        self.buf.resize(self.buf.len() + len, 0);
    }

    /// Writes the metas in place, and the trailer.
    pub(super) fn finish(mut self, root: u64, trailer: bool) -> Result<Finished, FormatError> {
        self.flush()?;
        let failed = format!("{}: finish", self.what);
        let page_size = u32::try_from(self.page_size).unwrap_or(u32::MAX);
        // As in a snapshot of etcd's: the same tree in both, the even transaction in page 0.
        for (page, txid) in [(0, 2), (1, 1)] {
            let meta = Meta::new(page_size, root, self.next_page, txid).encode(page);
            let written = self.file.write_all_at(&meta, page * self.page_size as u64);
            written.map_err(FormatError::io(failed.clone()))?;
        }
        let mut bytes = self.next_page * self.page_size as u64;
        if trailer {
            let sum = digest(&self.file, bytes, &self.what)?;
            let written = self.file.write_all_at(&sum, bytes);
            written.map_err(FormatError::io(failed))?;
            bytes += sum.len() as u64;
        }
        Ok(Finished {
            bytes,
            pages: self.next_page,
            file: UnsyncedDb {
                file: self.file,
                what: self.what,
                writeback: self.writeback,
            },
        })
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        let buf = std::mem::take(&mut self.buf);
        let result = self.write(&buf);
        self.buf = buf;
        self.buf.clear();
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        if self.broken {
            return Err(self.misuse("go on after a write had failed: delete the file"));
        }
        let written = self.file.write_all(bytes);
        let written = written.and_then(|()| self.writeback.wrote(&self.file, bytes.len() as u64));
        self.broken = written.is_err();
        written.map_err(FormatError::io(format!("{}: write", self.what)))
    }
}
