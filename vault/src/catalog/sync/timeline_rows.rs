//! The rows of what stands in timelines.

use super::super::database::{Value, int};
use super::super::marks;
use super::apply::Applying;
use super::found::{BaseRow, Content, Found, Place, SegmentRow};
use super::listing::kind;
use super::tables::{BASES, CHECKPOINTS, DAMAGED, GAPS, SEGMENTS, TIMELINES};
use crate::error::VaultError;
use crate::layout::{NameKind, ObjectName};

impl Applying<'_> {
    /// Deletes the rows of an object that is gone.
    pub(super) async fn remove(&mut self, place: &Place) -> Result<(), VaultError> {
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

    /// Inserts the rows of objects that are new.
    pub(super) async fn insert(&mut self, found: &[Found]) -> Result<(), VaultError> {
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
