//! Writes what has changed of a cluster, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use revkeep_schemas::manifest::Head;
use revkeep_schemas::names::TimelineId;
use sqlx::AssertSqlSafe;

use super::super::database::{Table, Transaction, Value, int};
use super::super::marks;
use super::super::open::Catalog;
use super::cluster::Look;
use super::derive::derive;
use super::found::{Amount, BaseRow, Change, Content, Found, Place, RoundRow, SegmentRow};
use super::known::KnownCluster;
use super::listing::{Meta, kind};
use crate::cluster::Cluster;
use crate::error::VaultError;
use crate::layout::{self, NameKind, ObjectName};

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
                // Whatever it was, it goes, with all that refers to it.
                let sql = "DELETE FROM clusters WHERE id = $1";
                tx.execute(sql, &[known.id.into()]).await?;
                insert_cluster(tx, cluster, now, known.version + 1).await?
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
        applying.head(change.head.as_ref()).await?;
    }
    if change.is_more_than_head() {
        applying.objects(change, now).await?;
    }
    writing.commit().await?;
    Ok(true)
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

struct Applying<'a> {
    tx: &'a mut Transaction,
    id: i64,
    cluster: &'a Cluster,
    /// What is held more or less than before.
    amounts: BTreeMap<(&'static str, i64, i64), Amount>,
}

impl Applying<'_> {
    async fn head(&mut self, head: Option<&Head>) -> Result<(), VaultError> {
        let Some(head) = head else {
            let sql = "DELETE FROM heads WHERE cluster_id = $1";
            self.tx.execute(sql, &[self.id.into()]).await?;
            return Ok(());
        };
        let sql = "INSERT INTO heads (cluster_id, timeline, base_revision, durable_revision, heartbeat_ms, source_revision, \
                   compact_revision, uploader, turn, followed_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                   ON CONFLICT (cluster_id) DO UPDATE SET timeline = excluded.timeline, base_revision = excluded.base_revision, \
                   durable_revision = excluded.durable_revision, heartbeat_ms = excluded.heartbeat_ms, \
                   source_revision = excluded.source_revision, compact_revision = excluded.compact_revision, \
                   uploader = excluded.uploader, turn = excluded.turn, followed_ms = excluded.followed_ms";
        let uploader = format!("{:016x}", head.uploader);
        let values = [
            self.id.into(),
            i64::from(head.timeline.0).into(),
            head.base_revision.0.into(),
            head.durable_revision.0.into(),
            head.heartbeat_unix_ms.into(),
            head.source_revision.0.into(),
            head.compact_revision.0.into(),
            (&uploader).into(),
            head.turn.cast_signed().into(),
            head.followed_unix_ms.into(),
        ];
        self.tx.execute(sql, &values).await?;
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

    fn amount(&mut self, kind: &'static str, level: i64, meta: Meta, sign: i64) {
        let amount = self.amounts.entry((kind, level, meta.day())).or_default();
        amount.objects += sign;
        amount.bytes += sign * int(meta.bytes);
    }

    async fn remove(&mut self, place: &Place) -> Result<(), VaultError> {
        let id: Value<'_> = self.id.into();
        let timeline: Value<'_> = i64::from(place.0.0).into();
        let name = self.name(place);
        let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND name = $2";
        self.tx.execute(sql, &[id, (&name).into()]).await?;
        match place.1 {
            NameKind::Timeline => {
                let sql = "DELETE FROM timelines WHERE cluster_id = $1 AND timeline = $2";
                self.tx.execute(sql, &[id, timeline]).await?;
            }
            NameKind::Base { revision, uid } => {
                let uid = uid.to_string();
                let sql = "DELETE FROM bases WHERE cluster_id = $1 AND timeline = $2 AND revision = $3 AND uid = $4";
                let values = [id, timeline, revision.0.into(), (&uid).into()];
                self.tx.execute(sql, &values).await?;
                let sql =
                    "DELETE FROM checkpoints WHERE cluster_id = $1 AND timeline = $2 AND uid = $3";
                self.tx.execute(sql, &[id, timeline, (&uid).into()]).await?;
            }
            NameKind::Segment {
                level,
                first,
                last,
                uid,
            } => {
                let uid = uid.to_string();
                let sql = "DELETE FROM segments WHERE cluster_id = $1 AND timeline = $2 AND first = $3 AND last = $4 \
                           AND level = $5 AND uid = $6";
                let level = i64::from(level).into();
                let values = [
                    id,
                    timeline,
                    first.0.into(),
                    last.0.into(),
                    level,
                    (&uid).into(),
                ];
                self.tx.execute(sql, &values).await?;
                let sql = "DELETE FROM checkpoints WHERE cluster_id = $1 AND timeline = $2 AND revision >= $3 \
                           AND revision <= $4 AND uid = $5";
                let values = [id, timeline, first.0.into(), last.0.into(), (&uid).into()];
                self.tx.execute(sql, &values).await?;
            }
            NameKind::Gap { first, last, uid } => {
                let uid = uid.to_string();
                let sql = "DELETE FROM gaps WHERE cluster_id = $1 AND timeline = $2 AND first = $3 AND last = $4 AND uid = $5";
                let values = [id, timeline, first.0.into(), last.0.into(), (&uid).into()];
                self.tx.execute(sql, &values).await?;
            }
        }
        Ok(())
    }

    fn name(&self, place: &Place) -> String {
        ObjectName {
            cluster: self.cluster.name.clone(),
            timeline: place.0,
            kind: place.1,
        }
        .path()
    }

    async fn insert(&mut self, found: &[Found]) -> Result<(), VaultError> {
        let mut checkpoints = Vec::new();
        // Texts and bytes that are not in `found` itself live as long as the values that point to them.
        let texts: Vec<(String, String, Vec<u8>)> =
            found.iter().map(|one| self.texts(one)).collect();
        let mut bases = Vec::new();
        let mut segments = Vec::new();
        let mut gaps = Vec::new();
        let mut timelines = Vec::new();
        let mut damaged = Vec::new();
        for (found, (uid, name, packed)) in found.iter().zip(&texts) {
            let at = [self.id.into(), i64::from(found.place.0.0).into()];
            match &found.content {
                Content::Timeline(record) => {
                    timelines.extend(at);
                    let parent = record.parent;
                    add(
                        &mut timelines,
                        [
                            parent.map(|(id, _)| i64::from(id.0)).into(),
                            parent.map(|(_, fork)| fork.0).into(),
                            record.fork_at_most.into(),
                            uid.into(),
                            (&record.source.etcd_version).into(),
                            record.source.first_seen_unix_ms.into(),
                        ],
                    );
                    timelines.extend(meta(found));
                }
                Content::Base(base) => {
                    base_values(&mut bases, at, found, base, uid);
                    let known = base.checkpoint.iter();
                    checkpoints.extend(known.map(|known| (at, *known, uid)));
                }
                Content::Segment(segment) => {
                    segment_values(&mut segments, at, found, Some((segment, packed)), uid);
                    let known = segment.checkpoints.iter();
                    checkpoints.extend(known.map(|known| (at, *known, uid)));
                }
                Content::Gap(gap) => {
                    gaps.extend(at);
                    add(
                        &mut gaps,
                        [
                            gap.first.0.into(),
                            gap.last.0.into(),
                            uid.into(),
                            (&gap.reason).into(),
                            gap.distrusted.into(),
                        ],
                    );
                    gaps.extend(meta(found));
                }
                Content::Damaged(why) => {
                    // It counts for coverage as a listing does: by its name.
                    if matches!(found.place.1, NameKind::Segment { .. }) {
                        segment_values(&mut segments, at, found, None, uid);
                    }
                    let kind = kind(&found.place).0;
                    add(
                        &mut damaged,
                        [self.id.into(), name.into(), kind.into(), why.into()],
                    );
                    damaged.extend(meta(found));
                }
            }
        }
        TIMELINES.insert(self.tx, &timelines).await?;
        BASES.insert(self.tx, &bases).await?;
        SEGMENTS.insert(self.tx, &segments).await?;
        GAPS.insert(self.tx, &gaps).await?;
        DAMAGED.insert(self.tx, &damaged).await?;
        let values: Vec<Value<'_>> = checkpoints
            .iter()
            .flat_map(|(at, known, uid)| {
                let [id, timeline] = *at;
                [
                    id,
                    timeline,
                    known.revision.0.into(),
                    known.compact_revision.0.into(),
                    i64::from(known.hash).into(),
                    (*uid).into(),
                ]
            })
            .collect();
        CHECKPOINTS.insert(self.tx, &values).await
    }

    /// The unique suffix (of a timeline the source's cluster id), the name, and packed marks.
    fn texts(&self, found: &Found) -> (String, String, Vec<u8>) {
        let name = self.name(&found.place);
        let packed = match (&found.content, found.place.1) {
            (Content::Segment(segment), NameKind::Segment { first, .. }) => {
                marks::pack(first.0, &segment.marks)
            }
            _ => Vec::new(),
        };
        let uid = match (&found.content, found.place.1) {
            (Content::Timeline(record), _) => format!("{:016x}", record.source.cluster_id),
            (
                _,
                NameKind::Base { uid, .. }
                | NameKind::Segment { uid, .. }
                | NameKind::Gap { uid, .. },
            ) => uid.to_string(),
            (_, NameKind::Timeline) => String::new(),
        };
        (uid, name, packed)
    }

    async fn pins(&mut self, change: &Change) -> Result<(), VaultError> {
        for (name, meta) in &change.pins_gone {
            let sql = "DELETE FROM pins WHERE cluster_id = $1 AND name = $2";
            self.tx.execute(sql, &[self.id.into(), name.into()]).await?;
            let path = format!("{}/{name}", layout::pins_folder(&self.cluster.name));
            let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND name = $2";
            let values = [self.id.into(), (&path).into()];
            self.tx.execute(sql, &values).await?;
            self.amount("pin", 0, *meta, -1);
        }
        for found in &change.pins {
            self.amount("pin", 0, found.meta, 1);
            let (bytes, stored) = (int(found.meta.bytes).into(), found.meta.stored_ms.into());
            match &found.pin {
                Ok(pin) => {
                    let values = [
                        self.id.into(),
                        found.name.as_str().into(),
                        i64::from(pin.timeline.0).into(),
                        pin.revision.0.into(),
                        (&pin.reason).into(),
                        pin.created_unix_ms.into(),
                        pin.expires_unix_ms.into(),
                        bytes,
                        stored,
                    ];
                    PINS.insert(self.tx, &values).await?;
                }
                Err(why) => {
                    let path = layout::pin_path(&self.cluster.name, &found.name);
                    let values = [
                        self.id.into(),
                        (&path).into(),
                        "pin".into(),
                        why.into(),
                        bytes,
                        stored,
                    ];
                    DAMAGED.insert(self.tx, &values).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes what was verified and proven.
    async fn receipts(&mut self, change: &Change) -> Result<(), VaultError> {
        if change.listed {
            let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND kind = 'receipt'";
            self.tx.execute(sql, &[self.id.into()]).await?;
        }
        for name in &change.receipts_gone {
            let sql = "DELETE FROM verifications WHERE cluster_id = $1 AND name = $2";
            self.tx.execute(sql, &[self.id.into(), name.into()]).await?;
        }
        for found in &change.receipts {
            let name = &found.name;
            match &found.receipt {
                Ok(receipt) => {
                    let drill = receipt.timeline.0 > 0;
                    let began = receipt.ended_unix_ms.saturating_sub(int(receipt.took_ms));
                    let values = [
                        self.id.into(),
                        name.into(),
                        receipt.kind.name().into(),
                        drill.then_some(i64::from(receipt.timeline.0)).into(),
                        drill.then_some(receipt.revision.0).into(),
                        began.into(),
                        receipt.ended_unix_ms.into(),
                        receipt.sound.into(),
                        int(receipt.objects).into(),
                        int(receipt.bytes).into(),
                        (&receipt.summary).into(),
                        int(found.meta.bytes).into(),
                        found.meta.stored_ms.into(),
                    ];
                    VERIFICATIONS.insert(self.tx, &values).await?;
                }
                Err(why) => {
                    let path = format!("{}/{name}", layout::receipts_folder(&self.cluster.name));
                    let values = [
                        self.id.into(),
                        (&path).into(),
                        "receipt".into(),
                        why.into(),
                        0.into(),
                        0.into(),
                    ];
                    DAMAGED.insert(self.tx, &values).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes rounds; what they have deleted.
    async fn rounds(&mut self, change: &Change) -> Result<Vec<Place>, VaultError> {
        if change.listed {
            let sql = "DELETE FROM damaged WHERE cluster_id = $1 AND kind = 'round'";
            self.tx.execute(sql, &[self.id.into()]).await?;
        }
        for (name, why) in &change.rounds_damaged {
            let values = [
                self.id.into(),
                name.into(),
                "round".into(),
                why.into(),
                0.into(),
                0.into(),
            ];
            DAMAGED.insert(self.tx, &values).await?;
        }
        let mut deleted = Vec::new();
        for round in &change.rounds {
            self.round(round).await?;
            deleted.extend_from_slice(&round.deleted);
        }
        Ok(deleted)
    }

    async fn round(&mut self, round: &RoundRow) -> Result<(), VaultError> {
        let [marked, verdict, sweep, swept] = round.stored;
        let values = [
            self.id.into(),
            i64::from(round.number).into(),
            marked.into(),
            verdict.into(),
            sweep.into(),
            swept.into(),
            round.taken_back.into(),
            int(round.bases).into(),
            int(round.segments).into(),
            int(round.chunks).into(),
            int(round.bytes).into(),
        ];
        ROUNDS.insert(self.tx, &values).await
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

fn add<'a, const N: usize>(values: &mut Vec<Value<'a>>, more: [Value<'a>; N]) {
    values.extend(more);
}

fn meta(found: &Found) -> [Value<'static>; 2] {
    [int(found.meta.bytes).into(), found.meta.stored_ms.into()]
}

fn base_values<'a>(
    values: &mut Vec<Value<'a>>,
    at: [Value<'a>; 2],
    found: &'a Found,
    base: &'a BaseRow,
    uid: &'a String,
) {
    let NameKind::Base { revision, .. } = found.place.1 else {
        return;
    };
    values.extend(at);
    add(
        values,
        [revision.0.into(), uid.into(), base.compact_revision.into()],
    );
    values.extend(meta(found));
    add(
        values,
        [
            base.started_ms.into(),
            base.finished_ms.into(),
            int(base.rows).into(),
            int(base.plain_bytes).into(),
            int(base.chunk_bytes).into(),
            int(base.chunks).into(),
            (&base.etcd_version).into(),
        ],
    );
}

fn segment_values<'a>(
    values: &mut Vec<Value<'a>>,
    at: [Value<'a>; 2],
    found: &'a Found,
    index: Option<(&'a SegmentRow, &'a Vec<u8>)>,
    uid: &'a String,
) {
    let NameKind::Segment {
        level, first, last, ..
    } = found.place.1
    else {
        return;
    };
    values.extend(at);
    add(
        values,
        [
            first.0.into(),
            last.0.into(),
            i64::from(level).into(),
            uid.into(),
        ],
    );
    values.extend(meta(found));
    let segment = index.map(|(segment, _)| segment);
    add(
        values,
        [
            segment.map(|segment| int(segment.rows)).into(),
            segment.map(|segment| int(segment.plain_bytes)).into(),
            segment.and_then(|segment| segment.first_ms).into(),
            segment.and_then(|segment| segment.last_ms).into(),
            Value::Bytes(segment.and_then(|segment| segment.min_key.as_deref())),
            Value::Bytes(segment.and_then(|segment| segment.max_key.as_deref())),
            Value::Bytes(index.map(|(_, packed)| packed.as_slice())),
        ],
    );
}

const TIMELINES: Table = Table {
    name: "timelines",
    columns: &[
        "cluster_id",
        "timeline",
        "parent",
        "fork_revision",
        "fork_at_most",
        "source_cluster_id",
        "etcd_version",
        "first_seen_ms",
        "bytes",
        "stored_ms",
    ],
    then: "",
};
const BASES: Table = Table {
    name: "bases",
    columns: &[
        "cluster_id",
        "timeline",
        "revision",
        "uid",
        "compact_revision",
        "bytes",
        "stored_ms",
        "started_ms",
        "finished_ms",
        "rows",
        "plain_bytes",
        "chunk_bytes",
        "chunks",
        "etcd_version",
    ],
    then: "",
};
const SEGMENTS: Table = Table {
    name: "segments",
    columns: &[
        "cluster_id",
        "timeline",
        "first",
        "last",
        "level",
        "uid",
        "bytes",
        "stored_ms",
        "rows",
        "plain_bytes",
        "first_ms",
        "last_ms",
        "min_key",
        "max_key",
        "marks",
    ],
    then: "",
};
const GAPS: Table = Table {
    name: "gaps",
    columns: &[
        "cluster_id",
        "timeline",
        "first",
        "last",
        "uid",
        "reason",
        "distrusted",
        "bytes",
        "stored_ms",
    ],
    then: "",
};
const CHECKPOINTS: Table = Table {
    name: "checkpoints",
    columns: &[
        "cluster_id",
        "timeline",
        "revision",
        "compact_revision",
        "hash",
        "uid",
    ],
    then: "ON CONFLICT DO NOTHING",
};
const DAMAGED: Table = Table {
    name: "damaged",
    columns: &["cluster_id", "name", "kind", "reason", "bytes", "stored_ms"],
    then: "ON CONFLICT (cluster_id, name) DO UPDATE SET kind = excluded.kind, reason = excluded.reason, \
           bytes = excluded.bytes, stored_ms = excluded.stored_ms",
};
const PINS: Table = Table {
    name: "pins",
    columns: &[
        "cluster_id",
        "name",
        "timeline",
        "revision",
        "reason",
        "created_ms",
        "expires_ms",
        "bytes",
        "stored_ms",
    ],
    then: "",
};
const VERIFICATIONS: Table = Table {
    name: "verifications",
    columns: &[
        "cluster_id",
        "name",
        "kind",
        "timeline",
        "revision",
        "started_ms",
        "ended_ms",
        "ok",
        "objects",
        "bytes",
        "detail",
        "receipt_bytes",
        "stored_ms",
    ],
    then: "",
};
const ROUNDS: Table = Table {
    name: "retention_runs",
    columns: &[
        "cluster_id",
        "round",
        "marked_ms",
        "verdict_ms",
        "sweep_ms",
        "swept_ms",
        "taken_back",
        "bases",
        "segments",
        "chunks",
        "bytes",
    ],
    then: "ON CONFLICT (cluster_id, round) DO UPDATE SET marked_ms = excluded.marked_ms, verdict_ms = excluded.verdict_ms, \
           sweep_ms = excluded.sweep_ms, swept_ms = excluded.swept_ms, taken_back = excluded.taken_back, \
           bases = excluded.bases, segments = excluded.segments, chunks = excluded.chunks, bytes = excluded.bytes",
};
const STORED: Table = Table {
    name: "stored",
    columns: &["cluster_id", "kind", "level", "day", "objects", "bytes"],
    then: "ON CONFLICT (cluster_id, kind, level, day) DO UPDATE SET objects = stored.objects + excluded.objects, \
           bytes = stored.bytes + excluded.bytes",
};
