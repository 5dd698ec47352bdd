//! Which revision was seen when.

use std::collections::BTreeMap;

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;

use super::runs::touches;
use super::timeline::Deriving;
use crate::catalog::database::{Table, Value};
use crate::catalog::marks::{Mark, frontier, unpack};
use crate::catalog::sync::found::{Content, Found};
use crate::error::VaultError;
use crate::layout::NameKind;

impl Deriving<'_> {
    /// Adds the marks of what is new to those that are known.
    pub(super) async fn times_with(&mut self, new: &[&Found]) -> Result<(), VaultError> {
        let mut marks: Vec<Mark> = Vec::new();
        for found in new {
            match (&found.content, found.place.1) {
                (Content::Segment(segment), _) => marks.extend(&segment.marks),
                (Content::Base(base), NameKind::Base { revision, .. }) => {
                    marks.push((revision.0, base.finished_ms));
                }
                _ => {}
            }
        }
        let marks: Vec<Mark> = frontier(marks).into_iter().collect();
        let Some((first, time)) = marks.first().copied() else {
            return Ok(());
        };
        // Known ones below both cannot hide a new one, nor be hidden by one.
        let [id, timeline] = self.key();
        let sql = "SELECT revision FROM time_marks WHERE cluster_id = $1 AND timeline = $2 AND unix_ms >= $3 \
                   ORDER BY unix_ms LIMIT 1";
        let by_time = self.tx.one(sql, &[id, timeline, time.into()]).await?;
        let by_time = by_time.map_or(Ok(first), |row| row.int(0))?;
        self.replace_times(first.min(by_time), marks, true).await
    }

    /// Makes the marks from all that is there.
    pub(super) async fn times_anew(&mut self, distrusted: &[&GapRecord]) -> Result<(), VaultError> {
        let mut kept: BTreeMap<i64, i64> = BTreeMap::new();
        let sql = "SELECT revision, finished_ms FROM bases WHERE cluster_id = $1 AND timeline = $2";
        let mut all: Vec<Mark> = Vec::new();
        self.tx
            .each(sql, &self.key(), |row| {
                all.push((row.int(0)?, row.int(1)?));
                Ok(())
            })
            .await?;
        let sql = "SELECT first, last, marks FROM segments WHERE cluster_id = $1 AND timeline = $2";
        self.tx
            .each(sql, &self.key(), |row| {
                let range = (Revision(row.int(0)?), Revision(row.int(1)?));
                if distrusted.iter().any(|gap| touches(range, gap)) {
                    return Ok(());
                }
                let packed = row.maybe_bytes(2)?.unwrap_or_default();
                all.extend(unpack(range.0.0, &packed));
                if all.len() > 100_000 {
                    kept = frontier(kept.iter().map(|(a, b)| (*a, *b)).chain(all.drain(..)));
                }
                Ok(())
            })
            .await?;
        let marks = frontier(kept.into_iter().chain(all));
        self.replace_times(0, marks.into_iter().collect(), false)
            .await
    }

    /// Puts these marks in the place of those from a revision on, together with them or without.
    async fn replace_times(
        &mut self,
        from: i64,
        marks: Vec<Mark>,
        with_known: bool,
    ) -> Result<(), VaultError> {
        let [id, timeline] = self.key();
        let sql = "SELECT revision, unix_ms FROM time_marks WHERE cluster_id = $1 AND timeline = $2 AND revision >= $3";
        let mut known: BTreeMap<i64, i64> = BTreeMap::new();
        self.tx
            .each(sql, &[id, timeline, from.into()], |row| {
                known.insert(row.int(0)?, row.int(1)?);
                Ok(())
            })
            .await?;
        let wanted = if with_known {
            frontier(known.iter().map(|(a, b)| (*a, *b)).chain(marks))
        } else {
            frontier(marks)
        };
        let sql =
            "DELETE FROM time_marks WHERE cluster_id = $1 AND timeline = $2 AND revision = $3";
        for (revision, time) in &known {
            if wanted.get(revision) != Some(time) {
                self.tx
                    .execute(sql, &[id, timeline, (*revision).into()])
                    .await?;
            }
        }
        let new = wanted
            .iter()
            .filter(|(revision, time)| known.get(revision) != Some(time));
        let values: Vec<Value<'_>> = new
            .flat_map(|(revision, time)| [id, timeline, (*revision).into(), (*time).into()])
            .collect();
        TIMES.insert(self.tx, &values).await
    }
}

const TIMES: Table = Table {
    name: "time_marks",
    columns: &["cluster_id", "timeline", "revision", "unix_ms"],
    then: "",
};
