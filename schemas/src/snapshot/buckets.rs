//! What a snapshot holds beside its rows.

use crate::FormatError;
use crate::boltdb::{DbFile, KEY_BUCKET};
use crate::manifest::SmallBucket;

/// All buckets but the rows': leases, users, members, and the meta data.
///
/// # Errors
/// [`FormatError::Corrupt`] when the file is damaged.
pub fn small_buckets(db: &DbFile) -> Result<Vec<SmallBucket>, FormatError> {
    let mut buckets = Vec::new();
    for name in db.bucket_names()? {
        if name == KEY_BUCKET {
            continue;
        }
        let mut entries = Vec::new();
        if let Some(bucket) = db.bucket(&name)? {
            let mut cursor = bucket.cursor();
            while let Some((key, value)) = cursor.next_entry()? {
                entries.push((key.to_vec(), value.to_vec()));
            }
        }
        buckets.push(SmallBucket { name, entries });
    }
    Ok(buckets)
}
