//! An open db file.

use std::{fs::File, path::Path, sync::Arc};

use super::{
    FINISHED_COMPACT_REV, KEY_BUCKET, META_BUCKET, SCHEDULED_COMPACT_REV,
    bucket::Bucket,
    cursor::{Cursor, Entry, Root},
    meta::Meta,
    page::BUCKET_ELEMENT,
    rows::Rows,
    trailer::split_trailer,
    window::PageFile,
};
use crate::{FormatError, Revision, RowKey};

/// An etcd db file, or a snapshot with or without its trailer, open for reading.
///
/// Opening reads the metas only, and takes the newer valid one as bbolt does. Clones share the file. The file must not
/// change meanwhile: a member's live `db` is read through the snapshot RPC, never in place.
#[derive(Clone, Debug)]
pub struct DbFile {
    file: Arc<PageFile>,
    meta: Meta,
}

impl DbFile {
    /// Opens `path`. The trailer of a snapshot is not checked: see [`super::check_trailer`].
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when no meta is valid, or when the file ends before the pages in use do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        let what = path.display().to_string();
        let file = File::open(path).map_err(FormatError::io(format!("{what}: open")))?;
        let len = file
            .metadata()
            .map_err(FormatError::io(format!("{what}: metadata")))?
            .len();
        let (pages_len, _) = split_trailer(len);
        let meta = Meta::pick(&file, &what, pages_len)?;
        let needed = meta.high_water.checked_mul(u64::from(meta.page_size));
        if needed.is_none_or(|needed| needed > pages_len) {
            let expected = format!("{} pages of {} bytes", meta.high_water, meta.page_size);
            return Err(FormatError::corrupt(
                what,
                pages_len,
                expected,
                "the end of the file",
            ));
        }
        let file = PageFile {
            file,
            what,
            page_size: meta.page_size as usize,
            high_water: meta.high_water,
        };
        Ok(Self {
            file: Arc::new(file),
            meta,
        })
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_size(&self) -> u32 {
        self.meta.page_size
    }

    /// Bytes of all pages in use or free: the file's length without a trailer and without space beyond.
    #[must_use]
    pub fn pages_bytes(&self) -> u64 {
        self.meta
            .high_water
            .saturating_mul(u64::from(self.meta.page_size))
    }

    /// The number of the bbolt transaction that wrote the meta in force.
    #[must_use]
    pub fn txid(&self) -> u64 {
        self.meta.txid
    }

    /// The bucket called `name`, if there is one.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, FormatError> {
        let mut top = self.top();
        top.seek(name)?;
        match self.next_bucket(&mut top)? {
            Some((entry, bucket)) if top.borrow(&entry).0 == name => Ok(Some(bucket)),
            _ => Ok(None),
        }
    }

    /// The names of all buckets, ascending.
    pub fn bucket_names(&self) -> Result<Vec<Vec<u8>>, FormatError> {
        let mut top = self.top();
        let mut names = Vec::new();
        while let Some((entry, _)) = self.next_bucket(&mut top)? {
            names.push(top.borrow(&entry).0.to_vec());
        }
        Ok(names)
    }

    /// The rows of the `key` bucket in revision order; none if the bucket is missing.
    pub fn rows(&self) -> Result<Rows, FormatError> {
        Ok(Rows::new(
            self.bucket(KEY_BUCKET)?.map(|bucket| bucket.cursor()),
        ))
    }

    /// The revisions up to which compaction was asked for, and up to which it has finished: `(scheduled, finished)`,
    /// each `None` if it never was. Where they differ, the file was taken amid a compaction.
    pub fn compact_revisions(&self) -> Result<(Option<Revision>, Option<Revision>), FormatError> {
        let Some(meta) = self.bucket(META_BUCKET)? else {
            return Ok((None, None));
        };
        let read = |name: &[u8]| -> Result<Option<Revision>, FormatError> {
            let Some(value) = meta.get(name)? else {
                return Ok(None);
            };
            let key = RowKey::decode(&value).map_err(|error| {
                let name = String::from_utf8_lossy(name);
                FormatError::unsupported(
                    format!("{}: meta entry {name}", self.file.what),
                    error.to_string(),
                )
            })?;
            Ok(Some(key.main))
        };
        Ok((read(SCHEDULED_COMPACT_REV)?, read(FINISHED_COMPACT_REV)?))
    }

    /// The revision that the file stands at: the highest of the last row's, both compact revisions, and 1. The compact
    /// revisions matter when the last changes were deletions that compaction has purged
    /// (etcd, `server/storage/mvcc/kvstore.go`, `restore`).
    pub fn snapshot_revision(&self) -> Result<Revision, FormatError> {
        let mut rows = self.rows()?;
        let last = rows.last_key()?.map(|key| key.main);
        let (scheduled, finished) = self.compact_revisions()?;
        let known = [last, scheduled, finished].into_iter().flatten();
        Ok(known.fold(Revision::INITIAL, Ord::max))
    }

    /// A cursor over the buckets.
    fn top(&self) -> Cursor {
        // The meta in force may be either page; its own field is named as of page 0.
        Cursor::new(Arc::clone(&self.file), Root::Page(self.meta.root, 32))
    }

    fn next_bucket(&self, top: &mut Cursor) -> Result<Option<(Entry, Bucket)>, FormatError> {
        let Some(entry) = top.advance()? else {
            return Ok(None);
        };
        let from = top.entry_offset();
        if entry.flags & BUCKET_ELEMENT == 0 {
            return Err(self
                .file
                .corrupt(from, "a bucket at the top level", "a plain entry"));
        }
        let bucket = Bucket::read(Arc::clone(&self.file), top.borrow(&entry).1, from)?;
        Ok(Some((entry, bucket)))
    }
}
