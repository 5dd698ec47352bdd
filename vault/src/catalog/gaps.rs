//! The recorded gaps of a timeline, as the catalog has them.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;

use super::database::{Transaction, Value};
use crate::error::VaultError;

/// Those of a cluster's timeline that the store had taken by a time, in the order of their revisions.
///
/// # Errors
/// As the database fails.
pub(super) async fn gaps(
    tx: &mut Transaction,
    [cluster, timeline]: [Value<'static>; 2],
    stored_by_ms: i64,
) -> Result<Vec<GapRecord>, VaultError> {
    let sql = "SELECT first, last, reason, distrusted FROM gaps WHERE cluster_id = $1 AND timeline = $2 \
               AND stored_ms <= $3 ORDER BY first, last, uid";
    let rows = tx
        .all(sql, &[cluster, timeline, stored_by_ms.into()])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(GapRecord {
                first: Revision(row.int(0)?),
                last: Revision(row.int(1)?),
                reason: row.text(2)?,
                distrusted: row.flag(3)?,
            })
        })
        .collect()
}
