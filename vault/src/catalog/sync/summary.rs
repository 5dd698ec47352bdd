//! A cluster in one row: what its newest timeline holds, how much it is, and what was proven of it.

use revkeep_schemas::manifest::ProofKind;

use super::super::database::{Transaction, Value};
use super::known::place;
use crate::cluster::Cluster;
use crate::error::VaultError;

/// Writes the summary anew.
pub(super) async fn summary(
    tx: &mut Transaction,
    id: i64,
    cluster: &Cluster,
) -> Result<(), VaultError> {
    let newest = newest_timeline(tx, id, cluster).await?;
    let unsound = unsound(tx, id).await?;
    let of = "cluster_id = $1 AND timeline = $2";
    let maximum = format!("(SELECT MAX(last) FROM ranges WHERE {of})");
    let lost = |kind: &str| {
        format!(
            "COALESCE((SELECT CAST(SUM(last - first + 1) AS BIGINT) FROM holes WHERE {of} AND kind = '{kind}' \
             AND first >= (SELECT MIN(first) FROM ranges WHERE {of})), 0)"
        )
    };
    // Names of one kind of receipt begin with it, and sort by time.
    let proven = |column: &str| {
        format!(
            "(SELECT {column} FROM verifications WHERE cluster_id = $1 AND name >= 'drill-' AND name < 'drill.' AND ok = 1 \
             ORDER BY name DESC LIMIT 1)"
        )
    };
    let sql = format!(
        "UPDATE clusters SET timeline = $2, \
         minimum = (SELECT MIN(first) FROM ranges WHERE {of}), \
         maximum = {maximum}, \
         maximum_seen_ms = (SELECT unix_ms FROM time_marks WHERE {of} AND revision >= {maximum} ORDER BY revision LIMIT 1), \
         base_revision = (SELECT MAX(revision) FROM bases WHERE {of}), \
         base_stored_ms = (SELECT stored_ms FROM bases WHERE {of} ORDER BY revision DESC, uid DESC LIMIT 1), \
         segment_stored_ms = (SELECT stored_ms FROM segments WHERE {of} ORDER BY first DESC, last DESC, level DESC, uid DESC LIMIT 1), \
         lost = {}, thinned = {}, missing = {}, \
         damaged = (SELECT COUNT(*) FROM damaged WHERE cluster_id = $1), \
         objects = COALESCE((SELECT CAST(SUM(objects) AS BIGINT) FROM stored WHERE cluster_id = $1), 0), \
         bytes = COALESCE((SELECT CAST(SUM(bytes) AS BIGINT) FROM stored WHERE cluster_id = $1), 0), \
         proven_revision = {}, proven_ms = {}, unsound = $3 \
         WHERE id = $1",
        lost("lost"),
        lost("thinned"),
        lost("missing"),
        proven("revision"),
        proven("ended_ms"),
    );
    let values = [id.into(), newest.into(), unsound.as_deref().into()];
    tx.execute(sqlx::AssertSqlSafe(sql), &values).await?;
    Ok(())
}

/// The timeline with the highest number of which anything is there, be it a record that cannot be read or none at all: the
/// one before is not an answer to questions about the newest.
async fn newest_timeline(
    tx: &mut Transaction,
    id: i64,
    cluster: &Cluster,
) -> Result<Option<i64>, VaultError> {
    let mut newest = None;
    for sql in [
        "SELECT MAX(timeline) FROM timelines WHERE cluster_id = $1",
        "SELECT MAX(timeline) FROM bases WHERE cluster_id = $1",
        "SELECT MAX(timeline) FROM segments WHERE cluster_id = $1",
        "SELECT MAX(timeline) FROM gaps WHERE cluster_id = $1",
    ] {
        let row = tx.one(sql, &[id.into()]).await?;
        newest = newest.max(row.map_or(Ok(None), |row| row.maybe_int(0))?);
    }
    let sql =
        "SELECT name FROM damaged WHERE cluster_id = $1 AND kind IN ('timeline', 'base', 'gap')";
    for row in tx.all(sql, &[id.into()]).await? {
        let place = place(&cluster.name, &row.text(0)?);
        newest = newest.max(place.map(|place| i64::from(place.0.0)));
    }
    Ok(newest)
}

/// What the newest drill and the newest verification say, where they do not say that all is well.
async fn unsound(tx: &mut Transaction, id: i64) -> Result<Option<String>, VaultError> {
    let mut said = None;
    for kind in [ProofKind::Verification, ProofKind::Drill] {
        let sql = "SELECT ok, detail FROM verifications WHERE cluster_id = $1 AND name >= $2 AND name < $3 \
                   ORDER BY name DESC LIMIT 1";
        // After the hyphen comes the full stop.
        let (from, to) = (format!("{}-", kind.name()), format!("{}.", kind.name()));
        let values: [Value<'_>; 3] = [id.into(), (&from).into(), (&to).into()];
        if let Some(row) = tx.one(sql, &values).await?
            && !row.flag(0)?
        {
            say_unsound(&mut said, kind, &row.text(1)?);
        }
    }
    Ok(said)
}

/// Adds that the newest receipt of a kind does not say that all is well.
pub(super) fn say_unsound(said: &mut Option<String>, kind: ProofKind, summary: &str) {
    let one = format!("the newest {} found: {summary}", kind.name());
    *said = Some(match said.take() {
        Some(before) => format!("{before}; {one}"),
        None => one,
    });
}
