//! The vault as a restore sees it: one timeline, what it holds, and batches of its rows.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_schemas::Revision;
use revkeep_vault::{
    BaseManifest, Checkpoint, Cluster, ClusterName, Coverage, ErrorKind, Inventory, Piece,
    ReadOptions, SegmentIndex, Timeline, TimelineId, Vault, VaultError,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::error::{Kind, RestoreError};
use crate::plan::{BaseFact, CompactFact, Holdings, Plan, SegmentFact};
use crate::replay::{Batch, Feed};

/// Indexes of segments that are fetched at once.
const PARALLEL_INDEXES: usize = 8;

impl From<VaultError> for RestoreError {
    fn from(error: VaultError) -> Self {
        let kind = match error.kind() {
            ErrorKind::Retry => Kind::Unreachable,
            ErrorKind::Corrupt => Kind::Verification,
            ErrorKind::Config => Kind::Invalid,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::Gap => Kind::Gap,
            ErrorKind::Refused => Kind::Refused,
            ErrorKind::Internal => Kind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

/// One timeline and what it holds.
#[derive(Clone, Debug)]
pub struct Source {
    /// The timeline.
    pub timeline: Timeline,
    /// What it holds.
    pub inventory: Inventory,
}

/// Opens a cluster of a vault.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such vault or cluster; the message names the clusters that are there.
pub async fn open_cluster(url: &str, name: &str) -> Result<Cluster, RestoreError> {
    let name = ClusterName::new(name)
        .map_err(|error| RestoreError::new(Kind::Invalid, error.to_string()))?;
    let vault = Vault::open(url).await?;
    let cluster = vault.cluster(&name);
    if !cluster.timeline_ids().await?.is_empty() {
        return Ok(cluster);
    }
    let others = vault.clusters().await?;
    let others: Vec<_> = others.iter().map(ClusterName::as_str).collect();
    Err(RestoreError::new(
        Kind::NotFound,
        if others.is_empty() {
            format!("the vault has no cluster {name}, and no other: has an agent run yet?")
        } else {
            format!(
                "the vault has no cluster {name}; it has {}",
                others.join(", ")
            )
        },
    ))
}

impl Source {
    /// Opens a timeline of a cluster, by default the newest.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a timeline that is not there.
    pub async fn open(cluster: &Cluster, timeline: Option<&str>) -> Result<Self, RestoreError> {
        let absent = || RestoreError::new(Kind::NotFound, "the cluster has no timeline");
        let timeline = match timeline {
            None => cluster.newest_timeline().await?.ok_or_else(absent)?,
            Some(id) => {
                let id: u32 = id.parse().map_err(|_| {
                    RestoreError::new(
                        Kind::Invalid,
                        format!("--timeline {id:?}: give a number, such as 0001"),
                    )
                })?;
                cluster.timeline(TimelineId(id)).await?
            }
        };
        Ok(Self {
            inventory: timeline.inventory().await?,
            timeline,
        })
    }

    /// What planning needs to know, in the order of the inventory's lists.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let inventory = &self.inventory;
        let bases = inventory.bases.iter().map(|base| BaseFact {
            revision: base.revision,
            compact_revision: base.compact_revision,
        });
        let segments = inventory.segments.iter().map(|segment| SegmentFact {
            first: segment.first,
            last: segment.last,
            level: segment.level,
        });
        let gaps = Coverage::compute(inventory).gaps;
        Holdings {
            bases: bases.collect(),
            segments: segments.collect(),
            gaps: gaps.iter().map(|gap| (gap.first, gap.last)).collect(),
        }
    }

    /// The base of a plan.
    ///
    /// # Errors
    /// [`Kind::Failed`] for a plan of another inventory.
    pub fn base(&self, plan: &Plan) -> Result<&BaseManifest, RestoreError> {
        self.inventory
            .bases
            .get(plan.base)
            .map(|base| &*base.manifest)
            .ok_or_else(|| RestoreError::new(Kind::Failed, "the plan is of another inventory"))
    }

    /// The segments of a plan, as pieces to read.
    #[must_use]
    pub fn segment_pieces(&self, plan: &Plan) -> Vec<Piece> {
        plan.steps
            .iter()
            .filter_map(|step| {
                Some(Piece::Segment {
                    entry: self.inventory.segments.get(step.segment)?.clone(),
                    from: step.from,
                    to: step.to,
                })
            })
            .collect()
    }

    /// What the segments of a plan say beside their rows.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub async fn facts(&self, plan: &Plan) -> Result<Facts, RestoreError> {
        let entries = plan
            .steps
            .iter()
            .filter_map(|step| self.inventory.segments.get(step.segment));
        let indexes = stream::iter(entries.cloned().collect::<Vec<_>>())
            .map(|entry| async move { self.timeline.segment_index(&entry).await })
            .buffered(PARALLEL_INDEXES);
        let mut facts = Facts::default();
        let mut indexes = std::pin::pin!(indexes);
        while let Some(index) = indexes.try_next().await? {
            facts.add(&index, plan.target);
        }
        Ok(facts)
    }

    /// Starts reading pieces; the batches come through a bounded channel.
    #[must_use]
    pub fn feed(
        &self,
        runtime: &Handle,
        pieces: Vec<Piece>,
        cancelled: watch::Receiver<bool>,
    ) -> Feed {
        let _guard = runtime.enter();
        let chunks = pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Chunk(_)))
            .count();
        let mut pieces = pieces;
        let segments = pieces.split_off(chunks);
        let base = self.timeline.read_rows(pieces, ReadOptions::default());
        let timeline = self.timeline.clone();
        let (sender, receiver) = mpsc::channel(1);
        // Its owner is the feed: it ends when that is dropped.
        runtime.spawn(async move {
            if forward(base, true, &sender).await {
                let segments = timeline.read_rows(segments, ReadOptions::default());
                forward(segments, false, &sender).await;
            }
        });
        Feed::new(runtime.clone(), receiver, cancelled)
    }
}

/// Passes batches on; says whether all went well and the consumer still listens.
async fn forward(
    mut from: mpsc::Receiver<Result<revkeep_vault::PlainRows, VaultError>>,
    of_base: bool,
    to: &mpsc::Sender<Result<Batch, RestoreError>>,
) -> bool {
    while let Some(rows) = from.recv().await {
        let failed = rows.is_err();
        let batch = rows
            .map(|rows| Batch {
                rows: rows.bytes,
                of_base,
            })
            .map_err(RestoreError::from);
        if to.send(batch).await.is_err() || failed {
            return false;
        }
    }
    true
}

/// What segments say beside their rows.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Compactions of the source.
    pub compactions: Vec<CompactFact>,
    /// Granted TTLs in seconds by lease id; later grants win.
    pub leases: BTreeMap<i64, i64>,
    /// HashKV as the source reported it.
    pub checkpoints: Vec<Checkpoint>,
    /// Rows of all segments, whole.
    pub rows: u64,
    /// Their bytes.
    pub plain_bytes: u64,
}

impl Facts {
    fn add(&mut self, index: &SegmentIndex, target: Revision) {
        // A mark at 0 does not say where the source stood. It was gathered after the segment's last row, so it holds
        // from there on: never too early, which would drop history.
        let last = index
            .frames
            .last()
            .map_or(Revision::MAX, |frame| frame.last);
        let marks = index.compactions.iter().map(|mark| CompactFact {
            after: if mark.revision == Revision::ZERO {
                last
            } else {
                mark.revision
            },
            compact_revision: mark.compact_revision,
        });
        self.compactions.extend(marks);
        let leases = index.leases.iter().filter(|fact| fact.first_seen <= target);
        self.leases
            .extend(leases.map(|fact| (fact.id, fact.granted_ttl_s)));
        self.checkpoints.extend(&index.checkpoints);
        self.rows = self.rows.saturating_add(index.rows);
        self.plain_bytes = self.plain_bytes.saturating_add(index.plain_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revkeep_schemas::RowKey;
    use revkeep_schemas::kv::KeyValue;
    use revkeep_schemas::row::Row;
    use revkeep_vault::{CompactionMark, SourceIdentity};

    #[tokio::test]
    async fn a_mark_without_a_place_holds_from_the_end_of_its_segment() {
        let vault = Vault::create("memory:").await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        let mut writer = timeline.segment_writer(0, 1);
        let value = KeyValue::encode_tombstone(b"k");
        for main in 5..=9 {
            let key = RowKey {
                main: Revision(main),
                sub: 0,
                tombstone: true,
            };
            writer
                .push_revision(&[Row { key, value: &value }], 1)
                .unwrap();
        }
        for (revision, compact_revision) in [(0, 4), (7, 6), (12, 8)] {
            writer.compaction(CompactionMark {
                revision: Revision(revision),
                compact_revision: Revision(compact_revision),
            });
        }
        timeline
            .put_segment(&writer.finish().unwrap())
            .await
            .unwrap();
        let inventory = timeline.inventory().await.unwrap();
        let index = timeline
            .segment_index(&inventory.segments[0])
            .await
            .unwrap();
        let mut facts = Facts::default();
        facts.add(&index, Revision(9));
        let after: Vec<_> = facts.compactions.iter().map(|fact| fact.after.0).collect();
        assert_eq!(after, [9, 7, 12]);
    }
}
