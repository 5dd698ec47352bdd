//! Reading it.

use std::path::Path;

use bytes::Bytes;
use revkeep_schemas::{
    FormatError, RowSource as _,
    boltdb::{DbFile, META_BUCKET, check_trailer},
};

use crate::{
    backend::{Backend, Bucket, Position},
    error::{Result, StoreError},
};

/// Puts an etcd db file in the place of all that a backend holds. A trailer, if there is one, must be right. Buckets that
/// etcd does not know are left out.
///
/// `at` is the position of the file's content, with Raft's own bytes; without it the file's own position counts.
///
/// # Errors
/// [`StoreError::Damaged`] for a file that is not sound, [`StoreError::Disk`] when a disk fails. The old state is in
/// force then.
pub fn import(backend: &Backend, path: &Path, at: Option<(Position, Option<Bytes>)>) -> Result<()> {
    check_trailer(path).map_err(format_failed)?;
    let file = DbFile::open(path).map_err(format_failed)?;
    backend.replace(|into| {
        let mut rows = file.rows().map_err(format_failed)?;
        while let Some(row) = rows.next_row().map_err(format_failed)? {
            into.put_row(&row)?;
        }
        for bucket in Bucket::ALL {
            let found = file.bucket(bucket.name().as_bytes());
            let Some(found) = found.map_err(format_failed)? else {
                continue;
            };
            let mut entries = found.cursor();
            while let Some((key, value)) = entries.next_entry().map_err(format_failed)? {
                into.put(bucket, key, value)?;
            }
        }
        if let Some((position, raft_state)) = at {
            into.put_position(position)?;
            if let Some(state) = raft_state {
                into.put_raft_state(&state)?;
            }
        }
        Ok(())
    })
}

/// The position in the log that an etcd db file tells.
///
/// # Errors
/// As [`import`].
pub fn position_of(path: &Path) -> Result<Position> {
    let file = DbFile::open(path).map_err(format_failed)?;
    let meta = file.bucket(META_BUCKET).map_err(format_failed)?;
    Position::read(|name| {
        let Some(meta) = &meta else { return Ok(None) };
        let value = meta.get(name).map_err(format_failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    })
}

/// What the error of a file means to the store.
pub(super) fn format_failed(error: FormatError) -> StoreError {
    match error {
        FormatError::Io { what, source } => StoreError::disk(what, source),
        FormatError::Corrupt { .. } | FormatError::Unsupported { .. } => {
            StoreError::damaged("etcd db file", error.to_string())
        }
        error => StoreError::internal_from("an etcd db file", error),
    }
}
