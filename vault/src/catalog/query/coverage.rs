//! What can be restored.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;
use serde::Serialize;

use super::super::database::{Transaction, Value};
use super::super::gaps::gaps;
use super::super::open::Catalog;
use super::scope::{Found, Scope};
use crate::coverage::{Coverage, merge, reached};
use crate::error::VaultError;

/// A closed range of revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first.
    pub first: Revision,
    /// The last.
    pub last: Revision,
}

/// Revisions that cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The first.
    pub first: Revision,
    /// The last.
    pub last: Revision,
    /// `thinned` by retention, `lost` as an agent recorded, `missing` without a word.
    pub kind: String,
    /// What was recorded.
    pub reason: Option<String>,
}

/// What can be restored of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoverageAnswer {
    /// The cluster.
    pub cluster: String,
    /// The timeline; empty where there is none yet.
    pub timeline: String,
    /// The oldest recovery point.
    pub minimum: Option<Revision>,
    /// The newest recovery point.
    pub maximum: Option<Revision>,
    /// All of it, ascending.
    pub ranges: Vec<Range>,
    /// What cannot be restored, ascending: between the ranges, recorded after them, deleted before them.
    pub holes: Vec<Hole>,
}

/// Whether one revision can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PointAnswer {
    /// The cluster.
    pub cluster: String,
    /// The timeline.
    pub timeline: String,
    /// The revision that was asked for.
    pub revision: Revision,
    /// Whether it can.
    pub recoverable: bool,
    /// The newest recovery point at or below it.
    pub below: Option<Revision>,
    /// The oldest recovery point at or above it.
    pub above: Option<Revision>,
    /// Why it cannot, where that is known.
    pub hole: Option<Hole>,
}

impl Catalog {
    /// What can be restored of a timeline now.
    ///
    /// # Errors
    /// `NotFound` for a cluster or timeline that the catalog does not know, `Corrupt` for a timeline whose record cannot be
    /// used; as the database fails.
    pub async fn coverage(&self, scope: &Scope) -> Result<CoverageAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let ranges = ranges(&mut tx, &found).await?;
        let sql = "SELECT first, last, kind, reason FROM holes WHERE cluster_id = $1 AND timeline = $2 ORDER BY first";
        let rows = tx.all(sql, &key(&found)).await?;
        let holes = rows.iter().map(hole).collect::<Result<_, _>>()?;
        Ok(answer(scope, &found, &ranges, holes))
    }

    /// The same as [`Coverage::compute`] says of the timeline's inventory.
    ///
    /// # Errors
    /// As [`Catalog::coverage`].
    pub async fn coverage_exact(&self, scope: &Scope) -> Result<Coverage, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let ranges = ranges(&mut tx, &found).await?;
        let gaps = gaps(&mut tx, key(&found), i64::MAX).await?;
        Ok(Coverage::of_ranges(ranges, gaps.iter()))
    }

    /// What could be restored at a time by what the object store had taken by then and has still. What retention has
    /// deleted since is not in it, but named as thinned.
    ///
    /// # Errors
    /// As [`Catalog::coverage`].
    pub async fn coverage_as_of(
        &self,
        scope: &Scope,
        unix_ms: i64,
    ) -> Result<CoverageAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let [id, timeline] = key(&found);
        let gaps = gaps(&mut tx, key(&found), unix_ms).await?;
        let distrusted: Vec<_> = gaps.iter().filter(|gap| gap.distrusted).collect();
        let mut segments: Vec<(Revision, Revision)> = Vec::new();
        let sql = "SELECT first, last FROM segments WHERE cluster_id = $1 AND timeline = $2 AND stored_ms <= $3 ORDER BY first";
        tx.each(sql, &[id, timeline, unix_ms.into()], |row| {
            let (first, last) = (Revision(row.int(0)?), Revision(row.int(1)?));
            let touches = |gap: &&&GapRecord| first <= gap.last && last >= gap.first;
            if distrusted.iter().any(|gap| touches(&gap)) {
                return Ok(());
            }
            match segments.last_mut() {
                Some(before) if first <= before.1.next() => before.1 = last.max(before.1),
                _ => segments.push((first, last)),
            }
            Ok(())
        })
        .await?;
        let sql = "SELECT compact_revision, revision FROM bases WHERE cluster_id = $1 AND timeline = $2 AND stored_ms <= $3";
        let bases = tx.all(sql, &[id, timeline, unix_ms.into()]).await?;
        let bases = bases
            .iter()
            .map(|row| {
                let from = Revision(row.int(0)?).max(Revision::INITIAL);
                Ok((from, Revision(row.int(1)?)))
            })
            .collect::<Result<Vec<_>, VaultError>>()?;
        let ranges = reached(bases.into_iter(), &merge(segments.into_iter()));
        let deleted = super::super::sync::deleted(&mut tx, found.id, found.timeline).await?;
        let coverage = Coverage::of_ranges(ranges.clone(), gaps.iter());
        let holes = super::super::sync::holes(&coverage, &gaps, &deleted);
        let holes = holes.into_iter().map(Hole::from).collect();
        Ok(answer(scope, &found, &ranges, holes))
    }

    /// Whether one revision can be restored, and the recovery points next to it. Looks at two ranges, however many there
    /// are.
    ///
    /// # Errors
    /// As [`Catalog::coverage`].
    pub async fn point(
        &self,
        scope: &Scope,
        revision: Revision,
    ) -> Result<PointAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let [id, timeline] = key(&found);
        let values = [id, timeline, revision.0.into()];
        let sql = "SELECT last FROM ranges WHERE cluster_id = $1 AND timeline = $2 AND first <= $3 \
                   ORDER BY first DESC LIMIT 1";
        let below = tx.one(sql, &values).await?;
        let below = below.map(|row| row.int(0)).transpose()?;
        let below = below.map(|last| revision.min(Revision(last)));
        let above = if below == Some(revision) {
            below
        } else {
            let sql = "SELECT first FROM ranges WHERE cluster_id = $1 AND timeline = $2 AND first > $3 \
                       ORDER BY first LIMIT 1";
            let above = tx.one(sql, &values).await?;
            above.map(|row| row.int(0)).transpose()?.map(Revision)
        };
        let mut answer = PointAnswer {
            cluster: scope.cluster.to_string(),
            timeline: found.label(),
            revision,
            recoverable: below == Some(revision),
            below,
            above,
            hole: None,
        };
        if !answer.recoverable {
            let sql = "SELECT first, last, kind, reason FROM holes WHERE cluster_id = $1 AND timeline = $2 AND first <= $3 \
                       ORDER BY first DESC LIMIT 1";
            let row = tx.one(sql, &values).await?;
            let near = row.as_ref().map(hole).transpose()?;
            answer.hole = near.filter(|hole| revision <= hole.last);
        }
        Ok(answer)
    }
}

fn key(found: &Found) -> [Value<'static>; 2] {
    [found.id.into(), found.timeline.into()]
}

async fn ranges(
    tx: &mut Transaction,
    found: &Found,
) -> Result<Vec<(Revision, Revision)>, VaultError> {
    let sql =
        "SELECT first, last FROM ranges WHERE cluster_id = $1 AND timeline = $2 ORDER BY first";
    let rows = tx.all(sql, &key(found)).await?;
    rows.iter()
        .map(|row| Ok((Revision(row.int(0)?), Revision(row.int(1)?))))
        .collect()
}

fn hole(row: &super::super::database::Row) -> Result<Hole, VaultError> {
    Ok(Hole {
        first: Revision(row.int(0)?),
        last: Revision(row.int(1)?),
        kind: row.text(2)?,
        reason: row.maybe_text(3)?,
    })
}

fn answer(
    scope: &Scope,
    found: &Found,
    ranges: &[(Revision, Revision)],
    holes: Vec<Hole>,
) -> CoverageAnswer {
    CoverageAnswer {
        cluster: scope.cluster.to_string(),
        timeline: found.label(),
        minimum: ranges.first().map(|range| range.0),
        maximum: ranges.last().map(|range| range.1),
        ranges: ranges
            .iter()
            .map(|range| Range {
                first: range.0,
                last: range.1,
            })
            .collect(),
        holes,
    }
}
