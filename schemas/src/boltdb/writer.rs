//! Writes a db file in one pass.

use std::path::Path;

use super::{
    bucket::BUCKET_HEADER_LEN,
    meta::is_page_size,
    page::{BUCKET_ELEMENT, MAX_KEY_LEN},
    sink::{Finished, Sink},
    tree::Tree,
    unsynced::UnsyncedDb,
};
use crate::{FormatError, Row};

/// How a db file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbOptions {
    /// Bytes of a page: a power of two from 1024 to 32 MiB. etcd takes the page size from the file, so 4096, which it
    /// uses itself on most machines, opens everywhere.
    pub page_size: u32,
    /// How full a page is made, in percent, 10 to 100. etcd appends to `key` in revision order, which never splits a
    /// full page in the middle, so 100 makes the smallest file and costs nothing later.
    pub fill_percent: u8,
    /// Whether to end the file with its SHA-256, as a snapshot that `etcdutl snapshot restore` takes. The hash starts
    /// with the metas, which are known last, so this reads the file once more, streaming.
    pub trailer: bool,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            page_size: 4096,
            fill_percent: 100,
            trailer: false,
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbSummary {
    /// Bytes of the file, with its trailer.
    pub bytes: u64,
    /// Pages of the file, with both metas.
    pub pages: u64,
}

/// Writes a db file bottom-up in one sequential pass: buckets one after the other in any order, each one's entries in
/// ascending order. Nothing is valid before [`DbWriter::finish`], which writes the metas last: an interrupted file is
/// refused by every reader. The caller deletes it, and syncs the directory of a finished one.
///
/// A large file is written and synced on threads of its own, which end with this: an error of the disk may be reported
/// by a later call than the one whose bytes it is about.
///
/// The metas name no freelist page: bbolt then takes all pages that no tree reaches as free, and there are none. This
/// is the form that etcd itself keeps on Linux (`NoFreelistSync`).
#[derive(Debug)]
pub struct DbWriter {
    sink: Sink,
    tree: Tree,
    fill_percent: usize,
    open: Option<Vec<u8>>,
    /// Name and root page of the buckets that are done.
    buckets: Vec<(Vec<u8>, u64)>,
    trailer: bool,
}

impl DbWriter {
    /// Creates the file with mode 0600.
    ///
    /// # Errors
    /// [`FormatError::Io`] when it exists or cannot be created, [`FormatError::Misuse`] for impossible options.
    pub fn create(path: impl AsRef<Path>, options: DbOptions) -> Result<Self, FormatError> {
        let path = path.as_ref();
        if !is_page_size(options.page_size) || !(10..=100).contains(&options.fill_percent) {
            let reason =
                "page_size must be a power of two from 1024 to 32 MiB, fill_percent 10 to 100";
            return Err(FormatError::misuse(
                format!("{}: create", path.display()),
                reason,
            ));
        }
        let fill_percent = usize::from(options.fill_percent);
        Ok(Self {
            sink: Sink::create(path, options.page_size as usize)?,
            tree: Tree::new(0, fill_percent),
            fill_percent,
            open: None,
            buckets: Vec::new(),
            trailer: options.trailer,
        })
    }

    /// Begins the bucket `name`, at most once each.
    pub fn begin_bucket(&mut self, name: &[u8]) -> Result<(), FormatError> {
        let shown = String::from_utf8_lossy(name);
        if self.open.is_some() {
            return Err(self
                .sink
                .misuse(format!("begin bucket {shown} inside another")));
        }
        if name.is_empty() || name.len() > MAX_KEY_LEN {
            return Err(self
                .sink
                .misuse("a bucket name without bytes, or with more than 32768"));
        }
        if self.buckets.iter().any(|(done, _)| done == name) {
            return Err(self
                .sink
                .misuse(format!("begin bucket {shown} a second time")));
        }
        self.open = Some(name.to_vec());
        Ok(())
    }

    /// Adds an entry to the open bucket; its key must be above all before.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), FormatError> {
        if self.open.is_none() {
            return Err(self.sink.misuse("put outside of a bucket"));
        }
        self.tree.put(&mut self.sink, key, value)
    }

    /// Adds a row to the open bucket, which is `key`.
    pub fn put_row(&mut self, row: &Row<'_>) -> Result<(), FormatError> {
        self.put(&row.key.encode(), row.value)
    }

    /// Ends the open bucket, which may be empty.
    pub fn end_bucket(&mut self) -> Result<(), FormatError> {
        let Some(name) = self.open.take() else {
            return Err(self.sink.misuse("end a bucket that was not begun"));
        };
        let root = self.tree.finish(&mut self.sink)?;
        self.buckets.push((name, root));
        Ok(())
    }

    /// Writes a whole bucket: name, then entries in ascending order.
    pub fn write_bucket<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        name: &[u8],
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), FormatError> {
        self.begin_bucket(name)?;
        for (key, value) in entries {
            self.put(key.as_ref(), value.as_ref())?;
        }
        self.end_bucket()
    }

    /// Writes the tree of buckets and the metas, and syncs the file.
    pub fn finish(self) -> Result<DbSummary, FormatError> {
        let (summary, file) = self.finish_unsynced()?;
        file.sync()?;
        Ok(summary)
    }

    /// Writes the tree of buckets and the metas and leaves it to the caller to sync the file, which can be read
    /// meanwhile.
    pub fn finish_unsynced(mut self) -> Result<(DbSummary, UnsyncedDb), FormatError> {
        if let Some(name) = &self.open {
            let name = String::from_utf8_lossy(name);
            return Err(self
                .sink
                .misuse(format!("finish while bucket {name} is open")));
        }
        self.buckets.sort();
        let mut top = Tree::new(BUCKET_ELEMENT, self.fill_percent);
        for (name, root) in &self.buckets {
            let mut value = [0; BUCKET_HEADER_LEN];
            let (page, _sequence) = value.split_at_mut(8);
            page.copy_from_slice(&root.to_le_bytes());
            top.put(&mut self.sink, name, &value)?;
        }
        let root = top.finish(&mut self.sink)?;
        let Finished { bytes, pages, file } = self.sink.finish(root, self.trailer)?;
        Ok((DbSummary { bytes, pages }, file))
    }
}
