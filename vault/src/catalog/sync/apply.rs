//! Writes what has changed of a cluster, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use revkeep_schemas::manifest::Head;
use revkeep_schemas::names::TimelineId;
use sqlx::AssertSqlSafe;

use super::super::database::{Transaction, Value, int};
use super::super::open::Catalog;
use super::cluster::Look;
use super::derive::derive;
use super::found::{Amount, Change, Place};
use super::known::KnownCluster;
use super::listing::{Meta, kind};
use super::tables::{DAMAGED, STORED};
use crate::cluster::Cluster;
use crate::error::VaultError;
use crate::layout;

/// Objects whose rows are made at once.
const BATCH: usize = 250;

/// Writes it; `false`, and nothing written, when somebody has changed the cluster since `known` was read.
pub(super) async fn apply(
    catalog: &Catalog,
    cluster: &Cluster,
    known: Option<&KnownCluster>,
    look: Look,
    change: Change,
) -> Result<bool, VaultError> {
    let mut writing = catalog.writing().await?;
    let tx = &mut writing.tx;
    let now = look.now.timestamp_millis();
    let id = match known {
        Some(known) => {
            let more = change.is_more_than_head();
            let sql = "UPDATE clusters SET version = version + $3, synced_ms = $4, error = NULL \
                       WHERE id = $1 AND version = $2";
            let values = [
                known.id.into(),
                known.version.into(),
                more.into(),
                now.into(),
            ];
            if tx.execute(sql, &values).await? == 0 {
                return Ok(false);
            }
            if look.anew {
                // Whatever it was, it goes, with all that refers to it but the labels: the vault does not hold those.
                let sql = "SELECT label FROM labels WHERE cluster_id = $1";
                let labels = tx.all(sql, &[known.id.into()]).await?;
                let sql = "DELETE FROM clusters WHERE id = $1";
                tx.execute(sql, &[known.id.into()]).await?;
                let id = insert_cluster(tx, cluster, now, known.version + 1).await?;
                for label in &labels {
                    let sql = "INSERT INTO labels (cluster_id, label) VALUES ($1, $2)";
                    let label = label.text(0)?;
                    tx.execute(sql, &[id.into(), (&label).into()]).await?;
                }
                id
            } else {
                Some(known.id)
            }
        }
        None => insert_cluster(tx, cluster, now, 1).await?,
    };
    let Some(id) = id else { return Ok(false) };
    let mut applying = Applying {
        tx,
        id,
        cluster,
        amounts: BTreeMap::new(),
    };
    if change.head.is_some() || change.listed {
        // Of another timeline, revisions say nothing.
        let timeline = change.head.as_ref().map(|head| head.timeline);
        let same = known.filter(|known| known.head.as_ref().map(|head| head.timeline) == timeline);
        let behind = same.and_then(|known| known.behind);
        applying.head(change.head.as_ref(), behind).await?;
    }
    if change.is_more_than_head() {
        applying.objects(change, now).await?;
    }
    applying.behind().await?;
    writing.commit().await?;
    Ok(true)
}

/// A time that somebody else's clock gave, within what can be calculated with: from 1970 on, and exact in JSON, too.
pub(super) fn time(unix_ms: i64) -> i64 {
    unix_ms.clamp(0, 1 << 53)
}

async fn insert_cluster(
    tx: &mut Transaction,
    cluster: &Cluster,
    now: i64,
    version: i64,
) -> Result<Option<i64>, VaultError> {
    let sql = "INSERT INTO clusters (name, version, synced_ms, lost, thinned, missing, damaged, objects, bytes) \
               VALUES ($1, $2, $3, 0, 0, 0, 0, 0, 0) ON CONFLICT (name) DO NOTHING RETURNING id";
    let values = [cluster.name.as_str().into(), version.into(), now.into()];
    let row = tx.one(sql, &values).await?;
    row.map(|row| row.int(0)).transpose()
}

/// A cluster's change on its way into the database.
pub(super) struct Applying<'a> {
    pub(super) tx: &'a mut Transaction,
    pub(super) id: i64,
    pub(super) cluster: &'a Cluster,
    /// What is held more or less than before.
    amounts: BTreeMap<(&'static str, i64, i64), Amount>,
}

impl Applying<'_> {
    async fn head(
        &mut self,
        head: Option<&Head>,
        behind: Option<(i64, i64)>,
    ) -> Result<(), VaultError> {
        let Some(head) = head else {
            let sql = "DELETE FROM heads WHERE cluster_id = $1";
            self.tx.execute(sql, &[self.id.into()]).await?;
            return Ok(());
        };
        let sql = "INSERT INTO heads (cluster_id, timeline, base_revision, durable_revision, heartbeat_ms, source_revision, \
                   compact_revision, uploader, turn, followed_ms, behind_revision, behind_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                   ON CONFLICT (cluster_id) DO UPDATE SET timeline = excluded.timeline, base_revision = excluded.base_revision, \
                   durable_revision = excluded.durable_revision, heartbeat_ms = excluded.heartbeat_ms, \
                   source_revision = excluded.source_revision, compact_revision = excluded.compact_revision, \
                   uploader = excluded.uploader, turn = excluded.turn, followed_ms = excluded.followed_ms, \
                   behind_revision = CASE WHEN heads.timeline = excluded.timeline THEN heads.behind_revision END";
        let uploader = format!("{:016x}", head.uploader);
        let values = [
            self.id.into(),
            i64::from(head.timeline.0).into(),
            head.base_revision.0.into(),
            head.durable_revision.0.into(),
            time(head.heartbeat_unix_ms).into(),
            head.source_revision.0.into(),
            head.compact_revision.0.into(),
            (&uploader).into(),
            head.turn.cast_signed().into(),
            time(head.followed_unix_ms).into(),
            behind.map(|(revision, _)| revision).into(),
            behind.map(|(_, since)| since).into(),
        ];
        self.tx.execute(sql, &values).await?;
        Ok(())
    }

    /// Notes since when the vault lacks a revision that the source had: the one that is noted stays until it is there, so
    /// that what comes after it does not make it younger.
    async fn behind(&mut self) -> Result<(), VaultError> {
        let reached = "COALESCE((SELECT maximum FROM clusters WHERE id = $1), 0)";
        let keep = |noted: &str, fresh: &str| {
            format!(
                "CASE WHEN source_revision <= {reached} THEN NULL WHEN behind_revision > {reached} THEN {noted} ELSE {fresh} END"
            )
        };
        let sql = format!(
            "UPDATE heads SET behind_revision = {}, behind_ms = {} WHERE cluster_id = $1 \
             AND (source_revision > {reached} OR behind_revision IS NOT NULL)",
            keep("behind_revision", "source_revision"),
            keep("behind_ms", "heartbeat_ms"),
        );
        self.tx
            .execute(AssertSqlSafe(sql), &[self.id.into()])
            .await?;
        Ok(())
    }

    async fn objects(&mut self, change: Change, now: i64) -> Result<(), VaultError> {
        let mut touched: BTreeSet<TimelineId> = BTreeSet::new();
        let mut removed: BTreeSet<TimelineId> = BTreeSet::new();
        for (place, meta) in &change.gone {
            removed.insert(place.0);
            self.remove(place).await?;
            self.count(place, *meta, -1);
        }
        touched.extend(change.found.iter().map(|found| found.place.0));
        for part in change.found.chunks(BATCH) {
            self.insert(part).await?;
        }
        for found in &change.found {
            self.count(&found.place, found.meta, 1);
        }
        self.pins(&change).await?;
        self.receipts(&change).await?;
        let deleted = self.rounds(&change).await?;
        self.amounts(change.chunks.as_ref()).await?;
        if change.listed {
            self.head_damage(&change).await?;
            let sql = "UPDATE clusters SET listed_ms = $2 WHERE id = $1";
            self.tx.execute(sql, &[self.id.into(), now.into()]).await?;
        }
        derive(
            self.tx,
            self.id,
            self.cluster,
            &change.found,
            &touched,
            &removed,
            deleted,
        )
        .await
    }

    fn count(&mut self, place: &Place, meta: Meta, sign: i64) {
        let (kind, level) = kind(place);
        self.amount(kind, level, meta, sign);
    }

    pub(super) fn amount(&mut self, kind: &'static str, level: i64, meta: Meta, sign: i64) {
        let amount = self.amounts.entry((kind, level, meta.day())).or_default();
        amount.objects += sign;
        amount.bytes += sign * int(meta.bytes);
    }

    async fn head_damage(&mut self, change: &Change) -> Result<(), VaultError> {
        let name = layout::head_path(&self.cluster.name);
        let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND name = $2";
        let values = [self.id.into(), (&name).into()];
        self.tx.execute(sql, &values).await?;
        if let Some((why, meta)) = &change.head_damaged {
            let values = [
                self.id.into(),
                (&name).into(),
                "head".into(),
                why.into(),
                int(meta.bytes).into(),
                meta.stored_ms.into(),
            ];
            DAMAGED.insert(self.tx, &values).await?;
        }
        Ok(())
    }

    /// Notes what is held more or less than before; of chunks what is held now.
    async fn amounts(&mut self, chunks: Option<&BTreeMap<i64, Amount>>) -> Result<(), VaultError> {
        if let Some(chunks) = chunks {
            let sql = "DELETE FROM stored WHERE cluster_id = $1 AND kind = 'chunk'";
            self.tx.execute(sql, &[self.id.into()]).await?;
            for (day, amount) in chunks {
                self.amounts.insert(("chunk", 0, *day), *amount);
            }
        }
        let values: Vec<Value<'_>> = self
            .amounts
            .iter()
            .flat_map(|((kind, level, day), amount)| {
                [
                    self.id.into(),
                    (*kind).into(),
                    (*level).into(),
                    (*day).into(),
                    amount.objects.into(),
                    amount.bytes.into(),
                ]
            })
            .collect();
        STORED.insert(self.tx, &values).await?;
        let sql = "DELETE FROM stored WHERE cluster_id = $1 AND objects = 0";
        self.tx
            .execute(AssertSqlSafe(sql), &[self.id.into()])
            .await?;
        Ok(())
    }
}
