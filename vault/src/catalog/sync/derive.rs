//! What follows of the rows of a cluster: runs, coverage, holes, times.
//!
//! What was added alone changes little, and little is read for it. Where something left, or what segments hold is no longer
//! trusted, all of the timeline is gone through again. Both come to the same.

use std::collections::{BTreeMap, BTreeSet};

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::GapRecord;
use revkeep_schemas::names::{TimelineId, Uid};

use super::super::database::{Table, Transaction, Value, int};
use super::super::marks::{Mark, frontier, unpack};
use super::found::{Content, Found, Place};
use super::holes::{Deleted, Hole, Range, holes};
use super::summary::summary;
use crate::cluster::Cluster;
use crate::coverage::{Coverage, merge, reached};
use crate::error::VaultError;
use crate::layout::{NameKind, ObjectName};

/// Brings all that follows up to date with what was found, what left and what retention deleted.
pub(super) async fn derive(
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

struct Deriving<'a> {
    tx: &'a mut Transaction,
    cluster: &'a Cluster,
    id: i64,
    timeline: TimelineId,
}

impl Deriving<'_> {
    fn key(&self) -> [Value<'static>; 2] {
        [self.id.into(), i64::from(self.timeline.0).into()]
    }

    async fn timeline(&mut self, new: &[&Found], removed: bool) -> Result<(), VaultError> {
        let gaps = self.gaps().await?;
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

    async fn gaps(&mut self) -> Result<Vec<GapRecord>, VaultError> {
        let sql = "SELECT first, last, reason, distrusted FROM gaps WHERE cluster_id = $1 AND timeline = $2 \
                   ORDER BY first, last, uid";
        let rows = self.tx.all(sql, &self.key()).await?;
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

    /// The runs with what is new.
    async fn runs_with(&mut self, new: &[&Found]) -> Result<Vec<Range>, VaultError> {
        let known = self.ranges("SELECT first, last FROM runs WHERE cluster_id = $1 AND timeline = $2 ORDER BY first").await?;
        let runs = merge(known.iter().copied().chain(spans(new)));
        if runs != known {
            self.rewrite(&RUNS, &runs).await?;
        }
        Ok(runs)
    }

    /// The runs of all segments that are trusted. Those that are not are named as damaged.
    async fn runs_anew(&mut self, distrusted: &[&GapRecord]) -> Result<Vec<Range>, VaultError> {
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
    async fn name_aside(&mut self, aside: &[Aside<'_>]) -> Result<(), VaultError> {
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
    async fn longer(&mut self, longest: Option<i64>) -> Result<(), VaultError> {
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

    async fn rewrite(&mut self, table: &Rewritten, ranges: &[Range]) -> Result<(), VaultError> {
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

    /// Adds what retention deleted to what it had deleted before.
    async fn deleted(&mut self, all: &[Place]) -> Result<(), VaultError> {
        let mut known = self.known_deleted().await?;
        let before = (known.segments.clone(), known.bases.len());
        let here = all.iter().filter(|place| place.0 == self.timeline);
        let mut segments = Vec::new();
        for (_, kind) in here {
            match kind {
                NameKind::Segment { first, last, .. } => segments.push((*first, *last)),
                NameKind::Base { revision, .. } => known.bases.push(*revision),
                NameKind::Timeline | NameKind::Gap { .. } => {}
            }
        }
        known.segments = merge(known.segments.into_iter().chain(segments));
        known.bases.sort_unstable();
        known.bases.dedup();
        if before == (known.segments.clone(), known.bases.len()) {
            return Ok(());
        }
        let sql = "DELETE FROM deleted WHERE cluster_id = $1 AND timeline = $2";
        self.tx.execute(sql, &self.key()).await?;
        let [id, timeline] = self.key();
        let segments = known
            .segments
            .iter()
            .map(|(first, last)| ("segment", *first, *last));
        let bases = known.bases.iter().map(|base| ("base", *base, *base));
        let values: Vec<Value<'_>> = segments
            .chain(bases)
            .flat_map(|(kind, first, last)| {
                [id, timeline, kind.into(), first.0.into(), last.0.into()]
            })
            .collect();
        DELETED.insert(self.tx, &values).await
    }

    async fn known_deleted(&mut self) -> Result<Deleted, VaultError> {
        deleted(self.tx, self.id, i64::from(self.timeline.0)).await
    }

    /// Adds the marks of what is new to those that are known.
    async fn times_with(&mut self, new: &[&Found]) -> Result<(), VaultError> {
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
    async fn times_anew(&mut self, distrusted: &[&GapRecord]) -> Result<(), VaultError> {
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

/// A segment that holds what is recorded not to be what the source had.
struct Aside<'a> {
    range: Range,
    level: u8,
    uid: Uid,
    bytes: i64,
    stored_ms: i64,
    gap: &'a GapRecord,
}

/// What is new without the segments that are not trusted, and those.
fn parted<'a>(new: &[&'a Found], distrusted: &[&'a GapRecord]) -> (Vec<&'a Found>, Vec<Aside<'a>>) {
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
fn spans(new: &[&Found]) -> impl Iterator<Item = Range> {
    new.iter().filter_map(|found| match found.place.1 {
        NameKind::Segment { first, last, .. } => Some((first, last)),
        _ => None,
    })
}

/// How many revisions a range holds.
fn length(range: Range) -> i64 {
    range.1.0.saturating_sub(range.0.0).saturating_add(1)
}

/// What retention has deleted of a timeline.
pub(in crate::catalog) async fn deleted(
    tx: &mut Transaction,
    id: i64,
    timeline: i64,
) -> Result<Deleted, VaultError> {
    let sql = "SELECT kind, first, last FROM deleted WHERE cluster_id = $1 AND timeline = $2 ORDER BY kind, first";
    let mut deleted = Deleted::default();
    for row in tx.all(sql, &[id.into(), timeline.into()]).await? {
        let first = Revision(row.int(1)?);
        if row.text(0)? == "base" {
            deleted.bases.push(first);
        } else {
            deleted.segments.push((first, Revision(row.int(2)?)));
        }
    }
    Ok(deleted)
}

fn touches(range: Range, gap: &GapRecord) -> bool {
    range.0 <= gap.last && range.1 >= gap.first
}

/// A table of ranges that is written anew for a timeline.
struct Rewritten {
    delete: &'static str,
    insert: Table,
}

const RUNS: Rewritten = Rewritten {
    delete: "DELETE FROM runs WHERE cluster_id = $1 AND timeline = $2",
    insert: Table {
        name: "runs",
        columns: &["cluster_id", "timeline", "first", "last"],
        then: "",
    },
};
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
const DELETED: Table = Table {
    name: "deleted",
    columns: &["cluster_id", "timeline", "kind", "first", "last"],
    then: "",
};
const TIMES: Table = Table {
    name: "time_marks",
    columns: &["cluster_id", "timeline", "revision", "unix_ms"],
    then: "",
};
