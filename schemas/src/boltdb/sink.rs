//! The end of the file that is being written.

use std::{
    fs::OpenOptions,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::{
    appender::{Appender, WRITE_BYTES},
    meta::Meta,
    page::FIRST_TREE_PAGE,
    trailer::digest,
    unsynced::UnsyncedDb,
};
use crate::FormatError;

/// Appends pages to a new file through a buffer, and writes the metas in front when all is there.
#[derive(Debug)]
pub(super) struct Sink {
    appender: Appender,
    what: String,
    page_size: usize,
    /// At most [`WRITE_BYTES`].
    buf: Vec<u8>,
    /// The page that the next byte after the buffer starts, when on a boundary.
    next_page: u64,
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
        let mut sink = Self {
            appender: Appender::new(file),
            what,
            page_size,
            buf: Vec::with_capacity(WRITE_BYTES),
            next_page: FIRST_TREE_PAGE,
            broken: false,
        };
        // The metas' place.
        sink.pad(page_size.saturating_mul(2))?;
        Ok(sink)
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
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<(), FormatError> {
        while bytes.len() > WRITE_BYTES - self.buf.len() {
            let (now, rest) = bytes.split_at(WRITE_BYTES - self.buf.len());
            self.buf.extend_from_slice(now);
            bytes = rest;
            self.flush()?;
        }
        self.buf.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends zeros.
    pub(super) fn pad(&mut self, mut len: usize) -> Result<(), FormatError> {
        while len > WRITE_BYTES - self.buf.len() {
            len -= WRITE_BYTES - self.buf.len();
            self.buf.resize(WRITE_BYTES, 0);
            self.flush()?;
        }
        self.buf.resize(self.buf.len() + len, 0);
        Ok(())
    }

    /// Writes the metas in place, and the trailer.
    pub(super) fn finish(mut self, root: u64, trailer: bool) -> Result<Finished, FormatError> {
        self.whole()?;
        let failed = format!("{}: finish", self.what);
        let rest = std::mem::take(&mut self.buf);
        let written = self.appender.finish(&rest);
        let writeback = written.map_err(FormatError::io(failed.clone()))?;
        let file = self.appender.file();
        let page_size = u32::try_from(self.page_size).unwrap_or(u32::MAX);
        // As in a snapshot of etcd's: the same tree in both, the even transaction in page 0.
        for (page, txid) in [(0, 2), (1, 1)] {
            let meta = Meta::new(page_size, root, self.next_page, txid).encode(page);
            let written = file.write_all_at(&meta, page * self.page_size as u64);
            written.map_err(FormatError::io(failed.clone()))?;
        }
        let mut bytes = self.next_page * self.page_size as u64;
        if trailer {
            let sum = digest(file, bytes, &self.what)?;
            let written = file.write_all_at(&sum, bytes);
            written.map_err(FormatError::io(failed.clone()))?;
            bytes += sum.len() as u64;
        }
        Ok(Finished {
            bytes,
            pages: self.next_page,
            file: UnsyncedDb {
                file: file.try_clone().map_err(FormatError::io(failed))?,
                what: self.what,
                writeback,
            },
        })
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        self.whole()?;
        let full = std::mem::take(&mut self.buf);
        let taken = self.appender.append(full);
        self.broken = taken.is_err();
        self.buf = taken.map_err(FormatError::io(format!("{}: write", self.what)))?;
        Ok(())
    }

    /// After an error nothing is written any more.
    fn whole(&self) -> Result<(), FormatError> {
        if self.broken {
            return Err(self.misuse("go on after a write had failed: delete the file"));
        }
        Ok(())
    }
}
