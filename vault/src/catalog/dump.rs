//! The whole content as text, to compare catalogs and to look into one.

use std::io::Write;

use serde_json::Value;

use super::open::Catalog;
use crate::error::{ErrorKind, VaultError};

/// The tables with what the vault says: the columns, and the order of the rows. Left out is what is about the catalog
/// itself: its own numbers of clusters, when it was filled, which heads it saw before, and who does what now.
const TABLES: [(&str, &str, &str); 19] = [
    (
        "clusters",
        "c.name, c.timeline, c.minimum, c.maximum, c.maximum_seen_ms, c.base_revision, c.base_stored_ms, c.segment_stored_ms, \
         c.lost, c.thinned, c.missing, c.damaged, c.objects, c.bytes, c.proven_revision, c.proven_ms, c.unsound",
        "1",
    ),
    ("labels", "t.label", "2"),
    (
        "heads",
        "t.timeline, t.base_revision, t.durable_revision, t.heartbeat_ms, t.source_revision, t.compact_revision, t.uploader, \
         t.turn, t.followed_ms",
        "2",
    ),
    (
        "timelines",
        "t.timeline, t.parent, t.fork_revision, t.fork_at_most, t.source_cluster_id, t.etcd_version, t.first_seen_ms, \
         t.bytes, t.stored_ms",
        "2",
    ),
    (
        "bases",
        "t.timeline, t.revision, t.uid, t.compact_revision, t.bytes, t.stored_ms, t.started_ms, t.finished_ms, t.rows, \
         t.plain_bytes, t.chunk_bytes, t.chunks, t.etcd_version",
        "2, 3, 4",
    ),
    (
        "segments",
        "t.timeline, t.first, t.last, t.level, t.uid, t.bytes, t.stored_ms, t.rows, t.plain_bytes, t.first_ms, t.last_ms, \
         t.min_key, t.max_key, t.marks",
        "2, 3, 4, 5, 6",
    ),
    (
        "gaps",
        "t.timeline, t.first, t.last, t.uid, t.reason, t.distrusted, t.bytes, t.stored_ms",
        "2, 3, 4, 5",
    ),
    (
        "checkpoints",
        "t.timeline, t.revision, t.compact_revision, t.hash, t.uid",
        "2, 3, 4, 5, 6",
    ),
    ("spans", "t.timeline, t.longest", "2"),
    ("time_marks", "t.timeline, t.revision, t.unix_ms", "2, 3"),
    ("runs", "t.timeline, t.first, t.last", "2, 3"),
    ("ranges", "t.timeline, t.first, t.last", "2, 3"),
    (
        "holes",
        "t.timeline, t.first, t.last, t.kind, t.reason",
        "2, 3",
    ),
    ("deleted", "t.timeline, t.kind, t.first, t.last", "2, 3, 4"),
    (
        "pins",
        "t.name, t.timeline, t.revision, t.reason, t.created_ms, t.expires_ms, t.bytes, t.stored_ms",
        "2",
    ),
    (
        "retention_runs",
        "t.round, t.marked_ms, t.verdict_ms, t.sweep_ms, t.swept_ms, t.taken_back, t.bases, t.segments, t.chunks, t.bytes",
        "2",
    ),
    (
        "verifications",
        "t.name, t.kind, t.timeline, t.revision, t.started_ms, t.ended_ms, t.ok, t.objects, t.bytes, t.detail",
        "2",
    ),
    (
        "damaged",
        "t.name, t.kind, t.reason, t.bytes, t.stored_ms",
        "2",
    ),
    (
        "stored",
        "t.kind, t.level, t.day, t.objects, t.bytes",
        "2, 3, 4",
    ),
];

impl Catalog {
    /// Writes all that it says of the vault, a JSON array a line, in one order whatever it was filled by. Two catalogs of
    /// one vault give the same bytes.
    ///
    /// # Errors
    /// As the database fails, and when `out` does.
    pub async fn dump(&self, out: &mut (impl Write + Send)) -> Result<(), VaultError> {
        let mut reading = self.reading().await?;
        for (table, columns, order) in TABLES {
            let from = if table == "clusters" {
                "clusters c".to_owned()
            } else {
                format!("{table} t JOIN clusters c ON c.id = t.cluster_id")
            };
            let name = if table == "clusters" { "" } else { "c.name, " };
            let order = if table == "clusters" {
                order.to_owned()
            } else {
                format!("1, {order}")
            };
            let sql = format!("SELECT {name}{columns} FROM {from} ORDER BY {order}");
            reading
                .each(sqlx::AssertSqlSafe(sql), &[], |row| {
                    let mut line = vec![Value::from(table)];
                    line.extend(row.shown()?);
                    writeln!(out, "{}", Value::from(line)).map_err(|error| {
                        VaultError::new(ErrorKind::Retry, "write what the catalog holds")
                            .with_source(error)
                    })
                })
                .await?;
        }
        Ok(())
    }
}
