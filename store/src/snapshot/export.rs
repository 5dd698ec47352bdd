//! Writing it.

use std::{io, path::Path};

use revkeep_schemas::{
    RowSource as _,
    boltdb::{DbOptions, DbSummary, DbWriter, KEY_BUCKET},
};

use tempfile::TempPath;

use super::import::format_failed;
use crate::{
    backend::{Bucket, View},
    error::{Result, StoreError},
};

/// Writes a view to a new file in a folder, as [`export`] does; the file goes when what is returned is dropped.
///
/// # Errors
/// As [`export`], and [`StoreError::Disk`] when no file can be made.
pub fn export_into(view: &View, folder: &Path) -> Result<TempPath> {
    let mut failed = None;
    let file = tempfile::Builder::new()
        .prefix("snapshot-")
        .suffix(".db")
        .make_in(folder, |path| {
            export(view, path, DbOptions::default())
                .map_err(|error| io::Error::other(failed.insert(error).clone()))
        });
    let file = file.map_err(|error| {
        failed.unwrap_or_else(|| {
            let what = format!("make a snapshot in {}", folder.display());
            StoreError::disk(what, error)
        })
    })?;
    Ok(file.into_temp_path())
}

/// Writes a view to a new file, all ten buckets of it, and syncs it. With a trailer it is what `etcdutl snapshot restore`
/// takes. The storage version is absent, as in a file of etcd 3.5.
///
/// # Errors
/// [`StoreError::Disk`] when the file exists or cannot be written; the caller removes what is
/// there of it.
pub fn export(view: &View, path: &Path, options: DbOptions) -> Result<DbSummary> {
    let mut writer = DbWriter::create(path, options).map_err(format_failed)?;
    writer.begin_bucket(KEY_BUCKET).map_err(format_failed)?;
    let mut rows = view.all_rows()?;
    while let Some(row) = rows.next_row()? {
        writer.put_row(&row).map_err(format_failed)?;
    }
    writer.end_bucket().map_err(format_failed)?;
    for bucket in Bucket::ALL {
        writer
            .write_bucket(bucket.name().as_bytes(), view.entries(bucket)?)
            .map_err(format_failed)?;
    }
    writer.finish().map_err(format_failed)
}
