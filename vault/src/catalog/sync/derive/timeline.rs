//! Derives all that follows, one timeline after another.

use std::collections::BTreeSet;

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;
use revkeep_schemas::names::TimelineId;

use super::runs::{length, parted, spans};
use crate::catalog::database::{Table, Transaction, Value};
use crate::catalog::gaps::gaps;
use crate::catalog::sync::found::{Content, Found, Place};
use crate::catalog::sync::holes::{Hole, Range, holes};
use crate::catalog::sync::summary::summary;
use crate::cluster::Cluster;
use crate::coverage::{Coverage, reached};
use crate::error::VaultError;

/// Brings all that follows up to date with what was found, what left and what retention deleted.
pub(in crate::catalog::sync) async fn derive(
    tx: &mut Transaction,
    id: i64,
    cluster: &Cluster,
    found: &[Found],
    touched: &BTreeSet<TimelineId>,
    removed: &BTreeSet<TimelineId>,
    deleted: Vec<Place>,
) -> Result<(), VaultError> {
    let mut timelines: BTreeSet<TimelineId> = touched | removed;
    timelines.extend(deleted.iter().map(|place| place.0));
    for timeline in timelines {
        let mut deriving = Deriving {
            tx,
            cluster,
            id,
            timeline,
        };
        deriving.deleted(&deleted).await?;
        let new: Vec<&Found> = found
            .iter()
            .filter(|found| found.place.0 == timeline)
            .collect();
        deriving.timeline(&new, removed.contains(&timeline)).await?;
    }
    summary(tx, id, cluster).await
}

/// One timeline, while what follows of its rows is written.
pub(super) struct Deriving<'a> {
    pub(super) tx: &'a mut Transaction,
    pub(super) cluster: &'a Cluster,
    pub(super) id: i64,
    pub(super) timeline: TimelineId,
}

impl Deriving<'_> {
    pub(super) fn key(&self) -> [Value<'static>; 2] {
        [self.id.into(), i64::from(self.timeline.0).into()]
    }

    async fn timeline(&mut self, new: &[&Found], removed: bool) -> Result<(), VaultError> {
        let key = self.key();
        let gaps = gaps(self.tx, key, i64::MAX).await?;
        let distrusted: Vec<&GapRecord> = gaps.iter().filter(|gap| gap.distrusted).collect();
        let warned = |found: &&Found| matches!(&found.content, Content::Gap(gap) if gap.distrusted);
        let anew = removed || new.iter().any(warned);
        let trusted;
        let runs = if anew {
            trusted = Vec::new();
            self.runs_anew(&distrusted).await?
        } else {
            let (new, aside) = parted(new, &distrusted);
            self.name_aside(&aside).await?;
            let longest = aside.iter().map(|aside| aside.range).chain(spans(&new));
            self.longer(longest.map(length).max()).await?;
            trusted = new;
            self.runs_with(&trusted).await?
        };
        let covers = self.bases().await?;
        let ranges = reached(covers.into_iter(), &runs);
        self.rewrite(&RANGES, &ranges).await?;
        let coverage = Coverage::of_ranges(ranges, gaps.iter());
        let deleted = self.known_deleted().await?;
        self.holes(&holes(&coverage, &gaps, &deleted)).await?;
        if anew {
            self.times_anew(&distrusted).await
        } else {
            self.times_with(&trusted).await
        }
    }

    async fn bases(&mut self) -> Result<Vec<Range>, VaultError> {
        let sql =
            "SELECT compact_revision, revision FROM bases WHERE cluster_id = $1 AND timeline = $2";
        let rows = self.tx.all(sql, &self.key()).await?;
        rows.iter()
            .map(|row| {
                let from = Revision(row.int(0)?).max(Revision::INITIAL);
                Ok((from, Revision(row.int(1)?)))
            })
            .collect()
    }

    /// Writes a table of ranges anew for the timeline.
    pub(super) async fn rewrite(
        &mut self,
        table: &Rewritten,
        ranges: &[Range],
    ) -> Result<(), VaultError> {
        self.tx.execute(table.delete, &self.key()).await?;
        let [id, timeline] = self.key();
        let values: Vec<Value<'_>> = ranges
            .iter()
            .flat_map(|(first, last)| [id, timeline, first.0.into(), last.0.into()])
            .collect();
        table.insert.insert(self.tx, &values).await
    }

    async fn holes(&mut self, holes: &[Hole]) -> Result<(), VaultError> {
        let sql = "DELETE FROM holes WHERE cluster_id = $1 AND timeline = $2";
        self.tx.execute(sql, &self.key()).await?;
        let [id, timeline] = self.key();
        let values: Vec<Value<'_>> = holes
            .iter()
            .flat_map(|hole| {
                [
                    id,
                    timeline,
                    hole.first.0.into(),
                    hole.last.0.into(),
                    hole.kind.into(),
                    hole.reason.as_deref().into(),
                ]
            })
            .collect();
        HOLES.insert(self.tx, &values).await
    }
}

/// A table of ranges that is written anew for a timeline.
pub(super) struct Rewritten {
    pub(super) delete: &'static str,
    pub(super) insert: Table,
}

const RANGES: Rewritten = Rewritten {
    delete: "DELETE FROM ranges WHERE cluster_id = $1 AND timeline = $2",
    insert: Table {
        name: "ranges",
        columns: &["cluster_id", "timeline", "first", "last"],
        then: "",
    },
};

const HOLES: Table = Table {
    name: "holes",
    columns: &["cluster_id", "timeline", "first", "last", "kind", "reason"],
    then: "",
};
