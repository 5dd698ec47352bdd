//! Writes the base.

use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::snapshot::BaseRows;
use revkeep_schemas::{FormatError, Row, RowSource};
use revkeep_vault::{BaseFacts, BaseManifest, Timeline};

use super::SnapshotFile;
use crate::error::RestoreError;

/// Stores a base with the rows of a file; it is there when this returns, and not before.
///
/// # Errors
/// [`Kind::Verification`](crate::Kind::Verification) when the file has changed since it was verified; as the store fails.
pub async fn store(timeline: &Timeline, file: &SnapshotFile) -> Result<BaseManifest, RestoreError> {
    let facts = BaseFacts {
        revision: file.position.revision,
        compact_revision: file.position.compact_revision,
        buckets: file.buckets.clone(),
        etcd_version: file.etcd_version.clone(),
        raft_term: file.meta(b"term"),
        raft_index: file.meta(b"consistent_index"),
        db_bytes: file.db.pages_bytes(),
        started_unix_ms: file.taken_unix_ms,
        finished_unix_ms: file.taken_unix_ms,
        ..BaseFacts::default()
    };
    let rows = Unchanged {
        rows: file.rows_at(file.position.compact_revision, file.rule())?,
        read: RowDigest::default(),
        verified: file.digest,
        path: file.path.display().to_string(),
    };
    Ok(timeline.write_base(facts, rows, None).await?)
}

/// Rows that end with an error if they are not those that were verified, so that no base is made of them.
struct Unchanged {
    rows: BaseRows,
    read: RowDigest,
    verified: RowDigest,
    path: String,
}

impl RowSource for Unchanged {
    type Error = FormatError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, FormatError> {
        if let Some(row) = self.rows.next_row()? {
            self.read.add(&row);
            return Ok(Some(row));
        }
        if self.read == self.verified {
            return Ok(None);
        }
        Err(FormatError::corrupt(
            self.path.clone(),
            0,
            format!(
                "rows with the digest {}, as when it was verified",
                self.verified
            ),
            self.read.to_string(),
        ))
    }
}
