//! Runs of revisions that trusted segments hold without a hole, and the segments that are not trusted.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;
use revkeep_schemas::names::Uid;

use super::timeline::{Deriving, Rewritten};
use crate::catalog::database::{Table, int};
use crate::catalog::sync::found::Found;
use crate::catalog::sync::holes::Range;
use crate::coverage::merge;
use crate::error::VaultError;
use crate::layout::{NameKind, ObjectName};

impl Deriving<'_> {
    /// The runs with what is new.
    pub(super) async fn runs_with(&mut self, new: &[&Found]) -> Result<Vec<Range>, VaultError> {
        let known = self.ranges("SELECT first, last FROM runs WHERE cluster_id = $1 AND timeline = $2 ORDER BY first").await?;
        let runs = merge(known.iter().copied().chain(spans(new)));
        if runs != known {
            self.rewrite(&RUNS, &runs).await?;
        }
        Ok(runs)
    }

    /// The runs of all segments that are trusted. Those that are not are named as damaged.
    pub(super) async fn runs_anew(
        &mut self,
        distrusted: &[&GapRecord],
    ) -> Result<Vec<Range>, VaultError> {
        let mut trusted = Vec::new();
        let mut aside = Vec::new();
        let mut longest = None;
        let sql = "SELECT first, last, level, uid, bytes, stored_ms FROM segments WHERE cluster_id = $1 AND timeline = $2 \
                   ORDER BY first";
        self.tx
            .each(sql, &self.key(), |row| {
                let range = (Revision(row.int(0)?), Revision(row.int(1)?));
                longest = longest.max(Some(length(range)));
                let Some(gap) = distrusted.iter().find(|gap| touches(range, gap)) else {
                    // Merged as they come, so that few are held.
                    match trusted.last_mut() {
                        Some((_, last)) if range.0 <= Revision::next(*last) => {
                            *last = range.1.max(*last);
                        }
                        _ => trusted.push(range),
                    }
                    return Ok(());
                };
                let uid = row.text(3)?;
                aside.push(Aside {
                    range,
                    level: u8::try_from(row.int(2)?).unwrap_or(u8::MAX),
                    uid: uid.parse().unwrap_or(Uid(0)),
                    bytes: row.int(4)?,
                    stored_ms: row.int(5)?,
                    gap,
                });
                Ok(())
            })
            .await?;
        self.rewrite(&RUNS, &trusted).await?;
        let folder = crate::layout::timeline_folder(&self.cluster.name, self.timeline);
        let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND kind = 'distrusted' AND name >= $2 AND name < $3";
        // Names go on with a slash, after which comes the digit 0.
        let (from, to) = (format!("{folder}/"), format!("{folder}0"));
        let values = [self.id.into(), (&from).into(), (&to).into()];
        self.tx.execute(sql, &values).await?;
        self.name_aside(&aside).await?;
        let sql = "DELETE FROM spans WHERE cluster_id = $1 AND timeline = $2";
        self.tx.execute(sql, &self.key()).await?;
        self.longer(longest).await?;
        Ok(trusted)
    }

    /// Names segments that are not trusted as damaged.
    pub(super) async fn name_aside(&mut self, aside: &[Aside<'_>]) -> Result<(), VaultError> {
        for one in aside {
            let name = ObjectName {
                cluster: self.cluster.name.clone(),
                timeline: self.timeline,
                kind: NameKind::Segment {
                    level: one.level,
                    first: one.range.0,
                    last: one.range.1,
                    uid: one.uid,
                },
            };
            let name = name.path();
            let reason = crate::inventory::distrusted(&name, one.gap);
            let values = [
                self.id.into(),
                (&name).into(),
                (&reason).into(),
                one.bytes.into(),
                one.stored_ms.into(),
            ];
            let sql = "INSERT INTO damaged (cluster_id, name, kind, reason, bytes, stored_ms) \
                       VALUES ($1, $2, 'distrusted', $3, $4, $5) ON CONFLICT DO NOTHING";
            self.tx.execute(sql, &values).await?;
        }
        Ok(())
    }

    /// Notes how many revisions the longest segment holds, if that is more than is known.
    pub(super) async fn longer(&mut self, longest: Option<i64>) -> Result<(), VaultError> {
        let Some(longest) = longest else {
            return Ok(());
        };
        let [id, timeline] = self.key();
        let sql = "INSERT INTO spans (cluster_id, timeline, longest) VALUES ($1, $2, $3) \
                   ON CONFLICT (cluster_id, timeline) DO UPDATE SET longest = excluded.longest \
                   WHERE spans.longest < excluded.longest";
        self.tx
            .execute(sql, &[id, timeline, longest.into()])
            .await?;
        Ok(())
    }

    async fn ranges(&mut self, sql: &'static str) -> Result<Vec<Range>, VaultError> {
        let rows = self.tx.all(sql, &self.key()).await?;
        rows.iter()
            .map(|row| Ok((Revision(row.int(0)?), Revision(row.int(1)?))))
            .collect()
    }
}

/// A segment that holds what is recorded not to be what the source had.
pub(super) struct Aside<'a> {
    pub(super) range: Range,
    level: u8,
    uid: Uid,
    bytes: i64,
    stored_ms: i64,
    gap: &'a GapRecord,
}

/// What is new without the segments that are not trusted, and those.
pub(super) fn parted<'a>(
    new: &[&'a Found],
    distrusted: &[&'a GapRecord],
) -> (Vec<&'a Found>, Vec<Aside<'a>>) {
    let mut aside = Vec::new();
    let mut trusted = Vec::new();
    for found in new {
        let NameKind::Segment {
            level,
            first,
            last,
            uid,
        } = found.place.1
        else {
            trusted.push(*found);
            continue;
        };
        let range = (first, last);
        match distrusted.iter().find(|gap| touches(range, gap)) {
            Some(gap) => aside.push(Aside {
                range,
                level,
                uid,
                bytes: int(found.meta.bytes),
                stored_ms: found.meta.stored_ms,
                gap,
            }),
            None => trusted.push(*found),
        }
    }
    (trusted, aside)
}

/// The revisions of the segments among what is new.
pub(super) fn spans(new: &[&Found]) -> impl Iterator<Item = Range> {
    new.iter().filter_map(|found| match found.place.1 {
        NameKind::Segment { first, last, .. } => Some((first, last)),
        _ => None,
    })
}

/// How many revisions a range holds.
pub(super) fn length(range: Range) -> i64 {
    range.1.0.saturating_sub(range.0.0).saturating_add(1)
}

/// Whether a range has any of a gap.
pub(super) fn touches(range: Range, gap: &GapRecord) -> bool {
    range.0 <= gap.last && range.1 >= gap.first
}

const RUNS: Rewritten = Rewritten {
    delete: "DELETE FROM runs WHERE cluster_id = $1 AND timeline = $2",
    insert: Table {
        name: "runs",
        columns: &["cluster_id", "timeline", "first", "last"],
        then: "",
    },
};
