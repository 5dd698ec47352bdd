//! Writing it.

use std::path::Path;

use revkeep_schemas::{
    RowSource as _,
    boltdb::{DbOptions, DbSummary, DbWriter, KEY_BUCKET},
};

use super::import::format_failed;
use crate::{
    backend::{Bucket, View},
    error::Result,
};

/// Writes a view to a new file, all ten buckets of it, and syncs it. With a trailer it is what `etcdutl snapshot restore`
/// takes. The storage version is absent, as in a file of etcd 3.5.
///
/// # Errors
/// [`StoreError::Disk`](crate::StoreError::Disk) when the file exists or cannot be written; the caller removes what is
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
