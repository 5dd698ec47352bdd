//! What the catalog knows of a cluster before it is looked at.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use revkeep_schemas::names::{ClusterName, TimelineId, Uid};
use sqlx::AssertSqlSafe;

use super::super::database::{Row, Transaction};
use super::found::Place;
use super::listing::{Meta, kind_at};
use crate::error::{ErrorKind, VaultError};
use crate::layout::{self, NameKind};

/// Names before the one at which a head says that the vault ends that are listed again: an agent stores several segments at
/// once in any order, and of agents that follow each other one may begin before the other has ended.
const BACK: usize = 16;

/// A cluster's row, and its head as it was last read.
#[derive(Clone, Debug)]
pub(super) struct KnownCluster {
    pub(super) id: i64,
    pub(super) version: i64,
    pub(super) listed_ms: Option<i64>,
    pub(super) head: Option<Head>,
    /// A revision of the source that the vault lacked, and the heartbeat that first told of it.
    pub(super) behind: Option<(i64, i64)>,
}

impl KnownCluster {
    const SELECT: &'static str = "SELECT c.name, c.id, c.version, c.listed_ms, h.timeline, h.base_revision, \
         h.durable_revision, h.heartbeat_ms, h.source_revision, h.compact_revision, h.uploader, h.turn, h.followed_ms, \
         h.behind_revision, h.behind_ms FROM clusters c LEFT JOIN heads h ON h.cluster_id = c.id";

    /// All clusters.
    pub(super) async fn all(
        tx: &mut Transaction,
    ) -> Result<BTreeMap<String, KnownCluster>, VaultError> {
        let rows = tx.all(Self::SELECT, &[]).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, Self::read(row)?)))
            .collect()
    }

    /// One, if it is known.
    pub(super) async fn of(
        tx: &mut Transaction,
        name: &ClusterName,
    ) -> Result<Option<Self>, VaultError> {
        let sql = format!("{} WHERE c.name = $1", Self::SELECT);
        let row = tx.one(AssertSqlSafe(sql), &[name.as_str().into()]).await?;
        row.map(|row| Self::read(&row)).transpose()
    }

    fn read(row: &Row) -> Result<Self, VaultError> {
        let head = match row.maybe_int(4)? {
            None => None,
            Some(timeline) => Some(Head {
                timeline: TimelineId(u32::try_from(timeline).unwrap_or_default()),
                base_revision: Revision(row.int(5)?),
                durable_revision: Revision(row.int(6)?),
                heartbeat_unix_ms: row.int(7)?,
                source_revision: Revision(row.int(8)?),
                compact_revision: Revision(row.int(9)?),
                uploader: u64::from_str_radix(&row.text(10)?, 16).unwrap_or_default(),
                turn: row.int(11)?.cast_unsigned(),
                followed_unix_ms: row.int(12)?,
            }),
        };
        Ok(Self {
            id: row.int(1)?,
            version: row.int(2)?,
            listed_ms: row.maybe_int(3)?,
            head,
            behind: row.maybe_int(13)?.zip(row.maybe_int(14)?),
        })
    }
}

/// The names that are known of a cluster.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    pub(super) objects: BTreeMap<Place, Meta>,
    /// Of these, those that could not be used when they were read.
    pub(super) damaged: BTreeSet<Place>,
    pub(super) pins: BTreeMap<String, Meta>,
    /// Pins that could not be used.
    pub(super) damaged_pins: BTreeMap<String, Meta>,
    pub(super) rounds: BTreeMap<u32, [Option<i64>; 4]>,
    /// The names of receipts in their folder.
    pub(super) receipts: BTreeMap<String, Meta>,
}

impl KnownNames {
    /// All of them.
    pub(super) async fn read(
        tx: &mut Transaction,
        cluster: &ClusterName,
        id: i64,
    ) -> Result<Self, VaultError> {
        let mut known = Self::default();
        let objects = &mut known.objects;
        let sql = "SELECT timeline, bytes, stored_ms FROM timelines WHERE cluster_id = $1";
        tx.each(sql, &[id.into()], |row| {
            objects.insert((timeline(&row)?, NameKind::Timeline), meta(&row, 1)?);
            Ok(())
        })
        .await?;
        let sql =
            "SELECT timeline, bytes, stored_ms, revision, uid FROM bases WHERE cluster_id = $1";
        tx.each(sql, &[id.into()], |row| {
            let kind = NameKind::Base {
                revision: Revision(row.int(3)?),
                uid: uid(&row, 4)?,
            };
            objects.insert((timeline(&row)?, kind), meta(&row, 1)?);
            Ok(())
        })
        .await?;
        let sql = "SELECT timeline, bytes, stored_ms, first, last, uid, level FROM segments WHERE cluster_id = $1";
        tx.each(sql, &[id.into()], |row| {
            let kind = NameKind::Segment {
                first: Revision(row.int(3)?),
                last: Revision(row.int(4)?),
                uid: uid(&row, 5)?,
                level: u8::try_from(row.int(6)?).unwrap_or(u8::MAX),
            };
            objects.insert((timeline(&row)?, kind), meta(&row, 1)?);
            Ok(())
        })
        .await?;
        let sql =
            "SELECT timeline, bytes, stored_ms, first, last, uid FROM gaps WHERE cluster_id = $1";
        tx.each(sql, &[id.into()], |row| {
            let kind = NameKind::Gap {
                first: Revision(row.int(3)?),
                last: Revision(row.int(4)?),
                uid: uid(&row, 5)?,
            };
            objects.insert((timeline(&row)?, kind), meta(&row, 1)?);
            Ok(())
        })
        .await?;
        known.read_damaged(tx, cluster, id).await?;
        known.read_others(tx, id).await?;
        Ok(known)
    }

    /// Only what a listing of the newest names may name again: of a timeline the bases and the segments of level 0 from
    /// the names on after which is listed, and all gaps. With the revisions at which these names begin; none where all of
    /// them are listed.
    pub(super) async fn newest(
        tx: &mut Transaction,
        cluster: &ClusterName,
        id: i64,
        head: &Head,
    ) -> Result<(Self, Option<Revision>, Option<Revision>), VaultError> {
        let mut known = Self::default();
        let timeline = head.timeline;
        let number = i64::from(timeline.0);
        let sql = format!(
            "SELECT CASE WHEN COUNT(*) = {BACK} THEN MIN(revision) END FROM (SELECT revision FROM bases WHERE cluster_id = $1 AND timeline = $2 AND revision <= $3 \
             ORDER BY revision DESC LIMIT {BACK}) AS last"
        );
        let values = [id.into(), number.into(), head.base_revision.0.into()];
        let base = tx.one(AssertSqlSafe(sql), &values).await?;
        let base = base.map_or(Ok(None), |row| row.maybe_int(0))?;
        let sql = "SELECT uid, bytes, stored_ms, revision FROM bases WHERE cluster_id = $1 AND timeline = $2 AND revision >= $3";
        let from = base.unwrap_or_default();
        for row in tx
            .all(sql, &[id.into(), number.into(), from.into()])
            .await?
        {
            let kind = NameKind::Base {
                revision: Revision(row.int(3)?),
                uid: uid(&row, 0)?,
            };
            known.objects.insert((timeline, kind), meta(&row, 1)?);
        }
        let sql = format!(
            "SELECT CASE WHEN COUNT(*) = {BACK} THEN MIN(first) END FROM (SELECT first FROM segments WHERE cluster_id = $1 AND timeline = $2 AND level = 0 \
             AND first <= $3 ORDER BY first DESC LIMIT {BACK}) AS last"
        );
        let values = [id.into(), number.into(), head.durable_revision.0.into()];
        let first = tx.one(AssertSqlSafe(sql), &values).await?;
        let first = first.map_or(Ok(None), |row| row.maybe_int(0))?;
        let sql = "SELECT uid, bytes, stored_ms, first, last FROM segments \
                   WHERE cluster_id = $1 AND timeline = $2 AND level = 0 AND first >= $3";
        let from = first.unwrap_or_default();
        for row in tx
            .all(sql, &[id.into(), number.into(), from.into()])
            .await?
        {
            let kind = NameKind::Segment {
                level: 0,
                first: Revision(row.int(3)?),
                last: Revision(row.int(4)?),
                uid: uid(&row, 0)?,
            };
            known.objects.insert((timeline, kind), meta(&row, 1)?);
        }
        let sql = "SELECT uid, bytes, stored_ms, first, last FROM gaps WHERE cluster_id = $1 AND timeline = $2";
        for row in tx.all(sql, &[id.into(), number.into()]).await? {
            let kind = NameKind::Gap {
                first: Revision(row.int(3)?),
                last: Revision(row.int(4)?),
                uid: uid(&row, 0)?,
            };
            known.objects.insert((timeline, kind), meta(&row, 1)?);
        }
        known.read_damaged(tx, cluster, id).await?;
        // Those that were damaged are looked at again when all names are listed.
        known.damaged.clear();
        Ok((known, base.map(Revision), first.map(Revision)))
    }

    async fn read_damaged(
        &mut self,
        tx: &mut Transaction,
        cluster: &ClusterName,
        id: i64,
    ) -> Result<(), VaultError> {
        let sql = "SELECT name, bytes, stored_ms, kind FROM damaged WHERE cluster_id = $1 \
                   AND kind IN ('timeline', 'base', 'segment', 'gap', 'pin')";
        for row in tx.all(sql, &[id.into()]).await? {
            let name = row.text(0)?;
            if row.text(3)? == "pin" {
                let pin = name.rsplit('/').next().unwrap_or_default();
                self.damaged_pins.insert(pin.to_owned(), meta(&row, 1)?);
            } else if let Some(place) = place(cluster, &name) {
                self.objects.insert(place, meta(&row, 1)?);
                self.damaged.insert(place);
            }
        }
        Ok(())
    }

    async fn read_others(&mut self, tx: &mut Transaction, id: i64) -> Result<(), VaultError> {
        let sql = "SELECT name, bytes, stored_ms FROM pins WHERE cluster_id = $1";
        for row in tx.all(sql, &[id.into()]).await? {
            self.pins.insert(row.text(0)?, meta(&row, 1)?);
        }
        let sql = "SELECT round, marked_ms, verdict_ms, sweep_ms, swept_ms FROM retention_runs WHERE cluster_id = $1";
        for row in tx.all(sql, &[id.into()]).await? {
            let stored = [
                row.maybe_int(1)?,
                row.maybe_int(2)?,
                row.maybe_int(3)?,
                row.maybe_int(4)?,
            ];
            let number = u32::try_from(row.int(0)?).unwrap_or_default();
            self.rounds.insert(number, stored);
        }
        let sql = "SELECT name, receipt_bytes, stored_ms FROM verifications WHERE cluster_id = $1";
        for row in tx.all(sql, &[id.into()]).await? {
            self.receipts.insert(row.text(0)?, meta(&row, 1)?);
        }
        Ok(())
    }
}

/// The place that a name below the vault's prefix means.
pub(super) fn place(cluster: &ClusterName, name: &str) -> Option<Place> {
    let rest = name.strip_prefix(&format!("clusters/{cluster}/"))?;
    let timeline: TimelineId = rest.split('/').next()?.parse().ok()?;
    let folder = Path::from(layout::timeline_folder(cluster, timeline));
    Some((timeline, kind_at(&folder, &Path::from(name))?))
}

fn timeline(row: &Row) -> Result<TimelineId, VaultError> {
    Ok(TimelineId(u32::try_from(row.int(0)?).unwrap_or_default()))
}

fn meta(row: &Row, column: usize) -> Result<Meta, VaultError> {
    Ok(Meta {
        bytes: row.count(column)?,
        stored_ms: row.int(column + 1)?,
    })
}

fn uid(row: &Row, column: usize) -> Result<Uid, VaultError> {
    let text = row.text(column)?;
    text.parse().map_err(|error| {
        VaultError::new(
            ErrorKind::Corrupt,
            "catalog: it holds what this program did not write: run `revkeep catalog rebuild`",
        )
        .with_source(error)
    })
}
