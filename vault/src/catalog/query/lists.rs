//! What there is of a cluster: timelines, bases, gaps, checkpoints, pins, rounds of retention, verifications, damage.

use revkeep_schemas::Revision;
use revkeep_schemas::names::TimelineId;
use serde::Serialize;

use super::super::database::Row;
use super::super::open::Catalog;
use super::scope::Scope;
use crate::error::VaultError;

/// Rows that one list has at most; the newest, where it is of revisions.
const MOST: i64 = 10_000;

/// A timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineAnswer {
    /// Its number, such as `0001`.
    pub timeline: String,
    /// The timeline that it continues.
    pub parent: Option<String>,
    /// The highest revision that both share.
    pub fork_revision: Option<Revision>,
    /// Whether that is only a bound.
    pub fork_at_most: bool,
    /// etcd's cluster id, 16 hexadecimal digits.
    pub source_cluster_id: String,
    /// etcd's version when it was opened.
    pub etcd_version: String,
    /// When an agent first saw the source.
    pub first_seen_ms: i64,
    /// The oldest recovery point.
    pub minimum: Option<Revision>,
    /// The newest recovery point.
    pub maximum: Option<Revision>,
}

/// A base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaseAnswer {
    /// Its revision.
    pub revision: Revision,
    /// The unique suffix of its name.
    pub uid: String,
    /// The source's compact revision in it.
    pub compact_revision: Revision,
    /// When the store took its manifest.
    pub stored_ms: i64,
    /// When its snapshot was complete, by the agent's clock.
    pub finished_ms: i64,
    /// Rows.
    pub rows: u64,
    /// Their bytes.
    pub plain_bytes: u64,
    /// Bytes of its chunks in the store, which other bases may share.
    pub chunk_bytes: u64,
    /// How many chunks.
    pub chunks: u64,
    /// etcd's version.
    pub etcd_version: String,
}

/// A gap that an agent recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapAnswer {
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// Why.
    pub reason: String,
    /// Whether segments hold it otherwise than the source had it.
    pub distrusted: bool,
    /// When the store took the record.
    pub stored_ms: i64,
}

/// HashKV as the source reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointAnswer {
    /// The revision.
    pub revision: Revision,
    /// The compact revision under which it was computed.
    pub compact_revision: Revision,
    /// The hash.
    pub hash: u32,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinAnswer {
    /// Its name.
    pub name: String,
    /// The timeline.
    pub timeline: String,
    /// The revision.
    pub revision: Revision,
    /// Why, in a person's words.
    pub reason: String,
    /// When it was set.
    pub created_ms: i64,
    /// When it is let go.
    pub expires_ms: Option<i64>,
    /// Whether its revision can be restored.
    pub recoverable: bool,
}

/// A round of retention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionAnswer {
    /// Its number.
    pub round: u32,
    /// `marked`, `decided`, `sweeping`, `swept` or `taken-back`.
    pub state: String,
    /// When it was marked.
    pub marked_ms: i64,
    /// When its deletions had ended.
    pub swept_ms: Option<i64>,
    /// Bases that it deletes.
    pub bases: u64,
    /// Segments that it deletes.
    pub segments: u64,
    /// Chunks that it deletes.
    pub chunks: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// Something that was verified or proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerificationAnswer {
    /// The receipt that says so, by its name in the cluster's folder of receipts.
    pub name: String,
    /// `verification` or `drill`.
    pub kind: String,
    /// The timeline.
    pub timeline: Option<String>,
    /// The revision that was restored.
    pub revision: Option<Revision>,
    /// When it began.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
    /// Whether all was well.
    pub ok: bool,
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was found.
    pub detail: String,
}

/// An object that is there and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageAnswer {
    /// The cluster.
    pub cluster: String,
    /// The object, below the vault's prefix.
    pub name: String,
    /// What it is, or `distrusted` for a segment that an agent warned of.
    pub kind: String,
    /// What is wrong with it.
    pub reason: String,
}

fn timeline(number: i64) -> String {
    TimelineId(u32::try_from(number).unwrap_or_default()).to_string()
}

fn each<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, VaultError>,
) -> Result<Vec<T>, VaultError> {
    rows.iter().map(read).collect()
}

/// The newest came first, so that the limit leaves them; they are told in order.
fn in_order<T>(mut rows: Vec<T>) -> Vec<T> {
    rows.reverse();
    rows
}

impl Catalog {
    /// The timelines of a cluster, ascending.
    ///
    /// # Errors
    /// `NotFound` for a cluster or timeline that the catalog does not know, `Corrupt` for a question about a timeline whose
    /// record cannot be used; as the database fails.
    pub async fn timelines(&self, scope: &Scope) -> Result<Vec<TimelineAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let id = scope.find_cluster(&mut tx).await?;
        let sql = "SELECT t.timeline, t.parent, t.fork_revision, t.fork_at_most, t.source_cluster_id, t.etcd_version, \
                   t.first_seen_ms, \
                   (SELECT MIN(first) FROM ranges r WHERE r.cluster_id = t.cluster_id AND r.timeline = t.timeline), \
                   (SELECT MAX(last) FROM ranges r WHERE r.cluster_id = t.cluster_id AND r.timeline = t.timeline) \
                   FROM timelines t WHERE t.cluster_id = $1 ORDER BY t.timeline";
        each(&tx.all(sql, &[id.into()]).await?, |row| {
            Ok(TimelineAnswer {
                timeline: timeline(row.int(0)?),
                parent: row.maybe_int(1)?.map(timeline),
                fork_revision: row.maybe_int(2)?.map(Revision),
                fork_at_most: row.flag(3)?,
                source_cluster_id: row.text(4)?,
                etcd_version: row.text(5)?,
                first_seen_ms: row.int(6)?,
                minimum: row.maybe_int(7)?.map(Revision),
                maximum: row.maybe_int(8)?.map(Revision),
            })
        })
    }

    /// The bases of a timeline, ascending.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn bases(&self, scope: &Scope) -> Result<Vec<BaseAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let sql = "SELECT revision, uid, compact_revision, stored_ms, finished_ms, rows, plain_bytes, chunk_bytes, chunks, \
                   etcd_version FROM bases WHERE cluster_id = $1 AND timeline = $2 \
                   ORDER BY revision DESC, uid DESC LIMIT $3";
        let values = [found.id.into(), found.timeline.into(), MOST.into()];
        let rows = tx.all(sql, &values).await?;
        each(&rows, |row| {
            Ok(BaseAnswer {
                revision: Revision(row.int(0)?),
                uid: row.text(1)?,
                compact_revision: Revision(row.int(2)?),
                stored_ms: row.int(3)?,
                finished_ms: row.int(4)?,
                rows: row.count(5)?,
                plain_bytes: row.count(6)?,
                chunk_bytes: row.count(7)?,
                chunks: row.count(8)?,
                etcd_version: row.text(9)?,
            })
        })
        .map(in_order)
    }

    /// The recorded gaps of a timeline, ascending.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn gaps(&self, scope: &Scope) -> Result<Vec<GapAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let sql = "SELECT first, last, reason, distrusted, stored_ms FROM gaps WHERE cluster_id = $1 AND timeline = $2 \
                   ORDER BY first DESC, last DESC, uid DESC LIMIT $3";
        let values = [found.id.into(), found.timeline.into(), MOST.into()];
        let rows = tx.all(sql, &values).await?;
        each(&rows, |row| {
            Ok(GapAnswer {
                first: Revision(row.int(0)?),
                last: Revision(row.int(1)?),
                reason: row.text(2)?,
                distrusted: row.flag(3)?,
                stored_ms: row.int(4)?,
            })
        })
        .map(in_order)
    }

    /// The hashes that the source reported on a timeline, ascending.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn checkpoints(&self, scope: &Scope) -> Result<Vec<CheckpointAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let sql = "SELECT DISTINCT revision, compact_revision, hash FROM checkpoints WHERE cluster_id = $1 AND timeline = $2 \
                   ORDER BY revision DESC, compact_revision DESC, hash DESC LIMIT $3";
        let values = [found.id.into(), found.timeline.into(), MOST.into()];
        let rows = tx.all(sql, &values).await?;
        each(&rows, |row| {
            Ok(CheckpointAnswer {
                revision: Revision(row.int(0)?),
                compact_revision: Revision(row.int(1)?),
                hash: u32::try_from(row.int(2)?).unwrap_or_default(),
            })
        })
        .map(in_order)
    }

    /// The pins of a cluster, by name.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn pins(&self, scope: &Scope) -> Result<Vec<PinAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let id = scope.find_cluster(&mut tx).await?;
        let sql = "SELECT p.name, p.timeline, p.revision, p.reason, p.created_ms, p.expires_ms, \
                   (SELECT COUNT(*) FROM ranges r WHERE r.cluster_id = p.cluster_id AND r.timeline = p.timeline \
                    AND r.first <= p.revision AND r.last >= p.revision) \
                   FROM pins p WHERE p.cluster_id = $1 ORDER BY p.name LIMIT $2";
        let rows = tx.all(sql, &[id.into(), MOST.into()]).await?;
        each(&rows, |row| {
            Ok(PinAnswer {
                name: row.text(0)?,
                timeline: timeline(row.int(1)?),
                revision: Revision(row.int(2)?),
                reason: row.text(3)?,
                created_ms: row.int(4)?,
                expires_ms: row.maybe_int(5)?,
                recoverable: row.flag(6)?,
            })
        })
    }

    /// The rounds of retention of a cluster, ascending.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn retention_runs(&self, scope: &Scope) -> Result<Vec<RetentionAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let id = scope.find_cluster(&mut tx).await?;
        let sql = "SELECT round, marked_ms, verdict_ms, sweep_ms, swept_ms, taken_back, bases, segments, chunks, bytes \
                   FROM retention_runs WHERE cluster_id = $1 ORDER BY round DESC LIMIT $2";
        let rows = tx.all(sql, &[id.into(), MOST.into()]).await?;
        each(&rows, |row| {
            let state = match (
                row.flag(5)?,
                row.maybe_int(2)?,
                row.maybe_int(3)?,
                row.maybe_int(4)?,
            ) {
                (true, ..) => "taken-back",
                (_, _, _, Some(_)) => "swept",
                (_, _, Some(_), _) => "sweeping",
                (_, Some(_), _, _) => "decided",
                _ => "marked",
            };
            Ok(RetentionAnswer {
                round: u32::try_from(row.int(0)?).unwrap_or_default(),
                state: state.to_owned(),
                marked_ms: row.int(1)?,
                swept_ms: row.maybe_int(4)?,
                bases: row.count(6)?,
                segments: row.count(7)?,
                chunks: row.count(8)?,
                bytes: row.count(9)?,
            })
        })
        .map(in_order)
    }

    /// What was verified and proven of a cluster, the newest last.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn verifications(
        &self,
        scope: &Scope,
    ) -> Result<Vec<VerificationAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let id = scope.find_cluster(&mut tx).await?;
        let sql = "SELECT name, kind, timeline, revision, started_ms, ended_ms, ok, objects, bytes, detail FROM verifications \
                   WHERE cluster_id = $1 ORDER BY ended_ms DESC, name DESC LIMIT $2";
        let rows = tx.all(sql, &[id.into(), MOST.into()]).await?;
        each(&rows, |row| {
            Ok(VerificationAnswer {
                name: row.text(0)?,
                kind: row.text(1)?,
                timeline: row.maybe_int(2)?.map(timeline),
                revision: row.maybe_int(3)?.map(Revision),
                started_ms: row.int(4)?,
                ended_ms: row.int(5)?,
                ok: row.flag(6)?,
                objects: row.count(7)?,
                bytes: row.count(8)?,
                detail: row.text(9)?,
            })
        })
        .map(in_order)
    }

    /// Objects that cannot be used, of a cluster or of all, by name.
    ///
    /// # Errors
    /// As [`Catalog::timelines`].
    pub async fn damaged(&self, scope: Option<&Scope>) -> Result<Vec<DamageAnswer>, VaultError> {
        let mut tx = self.reading().await?;
        let sql = "SELECT c.name, d.name, d.kind, d.reason FROM damaged d JOIN clusters c ON c.id = d.cluster_id";
        let mut values = vec![MOST.into()];
        let mut of = "";
        if let Some(scope) = scope {
            values.push(scope.find_cluster(&mut tx).await?.into());
            of = "WHERE d.cluster_id = $2";
        }
        let sql = format!("{sql} {of} ORDER BY c.name, d.name LIMIT $1");
        let rows = tx.all(sqlx::AssertSqlSafe(sql), &values).await?;
        each(&rows, |row| {
            Ok(DamageAnswer {
                cluster: row.text(0)?,
                name: row.text(1)?,
                kind: row.text(2)?,
                reason: row.text(3)?,
            })
        })
    }
}
