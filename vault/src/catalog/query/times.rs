//! The revision of a time, and the time of a revision.

use futures::{StreamExt as _, stream};
use revkeep_schemas::Revision;
use revkeep_schemas::names::TimelineId;
use serde::Serialize;

use super::super::database::Transaction;
use super::super::marks::STEP_MS;
use super::super::open::Catalog;
use super::scope::{Found, Scope};
use crate::error::{ErrorKind, VaultError};
use crate::inventory::SegmentEntry;
use crate::spans::Spans;
use crate::vault::Vault;

/// The newest revision that agents had seen by a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionAnswer {
    /// The cluster.
    pub cluster: String,
    /// The timeline.
    pub timeline: String,
    /// The time that was asked for.
    pub unix_ms: i64,
    /// The revision; none where nothing was seen by then.
    pub revision: Option<Revision>,
    /// It may be as new as this: the catalog keeps times at intervals of ten seconds. The same where the vault was asked and
    /// all indexes in question could be read.
    pub at_most: Option<Revision>,
    /// Whether it can be restored.
    pub recoverable: bool,
}

/// When a revision was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimeAnswer {
    /// The cluster.
    pub cluster: String,
    /// The timeline.
    pub timeline: String,
    /// The revision that was asked for.
    pub revision: Revision,
    /// When it was there at the latest, by an agent's clock.
    pub seen_ms: Option<i64>,
    /// When the one after it was there at the latest.
    pub until_ms: Option<i64>,
    /// Whether the vault was asked and all indexes in question could be read: then this is what a restore reports, else it was
    /// there up to ten seconds earlier, or more where an index is damaged.
    pub exact: bool,
}

impl Catalog {
    /// The newest revision that agents had seen by a time. With a vault, the indexes of the one or two segments in question
    /// are read, and the answer is what a restore to that time takes.
    ///
    /// # Errors
    /// `NotFound` for a cluster or timeline that the catalog does not know; as the database or the store fails.
    pub async fn revision_at(
        &self,
        scope: &Scope,
        unix_ms: i64,
        vault: Option<&Vault>,
    ) -> Result<RevisionAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let mut revision = newest_by(&mut tx, &found, unix_ms).await?;
        // What the catalog left out, it says a step later.
        let mut at_most = newest_by(&mut tx, &found, unix_ms.saturating_add(STEP_MS)).await?;
        if let (Some(vault), Some(last)) = (vault, at_most)
            && revision < at_most
        {
            let between = (revision.unwrap_or_default() + 1, last);
            let asked = segments(&mut tx, scope, &found, between).await?;
            drop(tx);
            let read = read(vault, scope, &found, asked).await?;
            revision = revision.max(read.spans.newest_by(unix_ms).map(|revision| revision.0));
            at_most = if read.complete {
                revision
            } else {
                at_most.max(revision)
            };
            tx = self.reading().await?;
        }
        let mut recoverable = false;
        if let Some(revision) = revision {
            let sql = "SELECT last FROM ranges WHERE cluster_id = $1 AND timeline = $2 AND first <= $3 \
                       ORDER BY first DESC LIMIT 1";
            let values = [found.id.into(), found.timeline.into(), revision.into()];
            let row = tx.one(sql, &values).await?;
            recoverable = row.map(|row| row.int(0)).transpose()? >= Some(revision);
        }
        Ok(RevisionAnswer {
            cluster: scope.cluster.to_string(),
            timeline: found.label(),
            unix_ms,
            revision: revision.map(Revision),
            at_most: at_most.map(Revision),
            recoverable,
        })
    }

    /// When a revision was seen: at the latest then it was there. With a vault, the indexes of the segments that hold it
    /// are read, and the answer is what a restore reports.
    ///
    /// # Errors
    /// As [`Catalog::revision_at`].
    pub async fn time_of(
        &self,
        scope: &Scope,
        revision: Revision,
        vault: Option<&Vault>,
    ) -> Result<TimeAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let sql = "SELECT unix_ms FROM time_marks WHERE cluster_id = $1 AND timeline = $2 AND revision >= $3 \
                   ORDER BY revision LIMIT 1";
        let mut seen = [None, None];
        let mut until = revision.next().0;
        for (seen, at) in seen.iter_mut().zip([revision, revision.next()]) {
            let values = [found.id.into(), found.timeline.into(), at.0.into()];
            if let Some(row) = tx.one(sql, &values).await? {
                *seen = Some(row.int(0)?);
                // What was left out and says it earlier is said by one that is kept within a step.
                let by = row.int(0)?.saturating_add(STEP_MS);
                until = newest_by(&mut tx, &found, by)
                    .await?
                    .unwrap_or(until)
                    .max(until);
            }
        }
        let mut exact = false;
        if let Some(vault) = vault {
            let around = (revision.0, until);
            let asked = segments(&mut tx, scope, &found, around).await?;
            drop(tx);
            let read = read(vault, scope, &found, asked).await?;
            for (seen, at) in seen.iter_mut().zip([revision, revision.next()]) {
                *seen = [*seen, read.spans.seen(at)].into_iter().flatten().min();
            }
            exact = read.complete;
        }
        let [seen_ms, until_ms] = seen;
        Ok(TimeAnswer {
            cluster: scope.cluster.to_string(),
            timeline: found.label(),
            revision,
            seen_ms,
            until_ms,
            exact,
        })
    }
}

/// Segments whose indexes are read for one answer at most: those of ten seconds, of all agents.
const INDEXES: usize = 256;
/// Indexes that are read at once.
const AT_ONCE: usize = 16;

/// The newest revision that the kept marks say was there by a time.
async fn newest_by(
    tx: &mut Transaction,
    found: &Found,
    unix_ms: i64,
) -> Result<Option<i64>, VaultError> {
    let sql = "SELECT revision FROM time_marks WHERE cluster_id = $1 AND timeline = $2 AND unix_ms <= $3 \
               ORDER BY unix_ms DESC LIMIT 1";
    let values = [found.id.into(), found.timeline.into(), unix_ms.into()];
    let row = tx.one(sql, &values).await?;
    row.map(|row| row.int(0)).transpose()
}

/// Segments to be read.
struct Asked {
    entries: Vec<SegmentEntry>,
    /// Whether these are all.
    all: bool,
}

/// The segments that hold revisions of a range.
async fn segments(
    tx: &mut Transaction,
    scope: &Scope,
    found: &Found,
    (from, to): (i64, i64),
) -> Result<Asked, VaultError> {
    let begin = begin(tx, found, from).await?;
    // What is not trusted says nothing.
    let sql = format!(
        "SELECT first, last, level, uid, bytes FROM segments s WHERE cluster_id = $1 AND timeline = $2 \
         AND first >= $3 AND first <= $4 AND last >= $5 \
         AND NOT EXISTS (SELECT 1 FROM gaps g WHERE g.cluster_id = s.cluster_id AND g.timeline = s.timeline \
         AND g.distrusted = 1 AND g.first <= s.last AND g.last >= s.first) \
         ORDER BY first, last, level, uid LIMIT {}",
        INDEXES + 1
    );
    let values = [
        found.id.into(),
        found.timeline.into(),
        begin.into(),
        to.into(),
        from.into(),
    ];
    let rows = tx.all(sqlx::AssertSqlSafe(sql), &values).await?;
    let timeline = TimelineId(u32::try_from(found.timeline).unwrap_or_default());
    let entries = rows.iter().take(INDEXES);
    let entries = entries.map(|row| super::touching::entry(scope, timeline, row));
    Ok(Asked {
        entries: entries.collect::<Result<_, _>>()?,
        all: rows.len() <= INDEXES,
    })
}

/// The first revision at which a segment may begin that reaches `from`: those that begin before are too short.
pub(super) async fn begin(
    tx: &mut Transaction,
    found: &Found,
    from: i64,
) -> Result<i64, VaultError> {
    let sql = "SELECT longest FROM spans WHERE cluster_id = $1 AND timeline = $2";
    let row = tx
        .one(sql, &[found.id.into(), found.timeline.into()])
        .await?;
    let longest = row.map_or(Ok(1), |row| row.int(0))?;
    Ok(from.saturating_sub(longest).saturating_add(1))
}

/// What indexes say.
struct Read {
    spans: Spans,
    /// Whether all that were to be read could be.
    complete: bool,
}

async fn read(
    vault: &Vault,
    scope: &Scope,
    found: &Found,
    asked: Asked,
) -> Result<Read, VaultError> {
    let mut spans = Spans::default();
    let mut complete = asked.all;
    let timeline = TimelineId(u32::try_from(found.timeline).unwrap_or_default());
    let timeline = super::touching::place(vault, scope, timeline);
    let mut indexes = stream::iter(asked.entries)
        .map(async |entry| (entry.last, timeline.segment_index(&entry).await))
        .buffered(AT_ONCE);
    while let Some((last, index)) = indexes.next().await {
        match index {
            Ok(index) => spans.add(&index, last),
            // Gone or damaged: the catalog will hear of it.
            Err(error) if error.is_damage() || error.kind() == ErrorKind::NotFound => {
                complete = false;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Read { spans, complete })
}
