//! Replays every base, and every stretch between two.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use revkeep_schemas::Revision;
use revkeep_vault::{BaseEntry, Checkpoint, Cluster, Inventory, Timeline, TimelineId};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::error::{Kind, RestoreError};
use crate::overlap::Overlaps;
use crate::plan::{BaseFact, History, Holdings, SegmentFact, Target, coverage};
use crate::prepare::{Request, prepare};
use crate::replay::{Proof, Replay, index_rows};
use crate::source::Source;

/// What replaying found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deep {
    /// Bases that were replayed alone.
    pub bases: u64,
    /// Stretches of segments that were replayed from the base before them.
    pub stretches: u64,
    /// Rows that were replayed.
    pub rows: u64,
    /// HashKV that the source reported and the rows give.
    pub hashes: u64,
    /// What is not as the source or the vault said.
    pub findings: Vec<Contradiction>,
}

/// A replay that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// The timeline.
    pub timeline: TimelineId,
    /// The revision of the base that it began with.
    pub base: Revision,
    /// The revision that it led to.
    pub revision: Revision,
    /// What is wrong.
    pub reason: String,
}

/// One replay: a base, and segments as far as a revision.
struct Span {
    inventory: Inventory,
    base: Revision,
    to: Revision,
}

/// Replays a cluster, without the objects that are known to be damaged or gone. `progress` is told the bytes of rows that were worked
/// through, unpacked.
///
/// # Errors
/// As the store fails, and [`Kind::Interrupted`] once `cancelled` is true.
pub async fn deep(
    cluster: &Cluster,
    unsound: &BTreeSet<String>,
    cancelled: &watch::Receiver<bool>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<Deep, RestoreError> {
    let mut found = Deep::default();
    for id in cluster.timeline_ids().await? {
        let timeline = match cluster.timeline(id).await {
            Ok(timeline) => timeline,
            // Its record is missing or damaged, which was found before.
            Err(_)
                if unsound
                    .iter()
                    .any(|name| name.ends_with(&format!("/{id}/timeline"))) =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut inventory = timeline.inventory().await?;
        inventory
            .bases
            .retain(|base| is_sound(&timeline, base, unsound));
        inventory
            .segments
            .retain(|segment| !unsound.contains(&segment.name));
        for at in 0..inventory.bases.len() {
            for span in spans(&inventory, at) {
                found
                    .add(&timeline, span, cancelled, progress.clone())
                    .await?;
            }
        }
    }
    Ok(found)
}

impl Deep {
    async fn add(
        &mut self,
        timeline: &Timeline,
        span: Span,
        cancelled: &watch::Receiver<bool>,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), RestoreError> {
        let (base, revision) = (span.base, span.to);
        let source = Source::of(timeline.clone(), span.inventory);
        match replay(&source, revision, cancelled, progress).await {
            Ok((rows, proofs)) => {
                self.rows += rows;
                self.hashes += proofs.len() as u64;
                if revision == base {
                    self.bases += 1;
                } else {
                    self.stretches += 1;
                }
            }
            Err(error) if tells_of_the_vault(error.kind()) => {
                // Retention may have deleted some of it meanwhile.
                if !source.is_swept().await? {
                    self.findings.push(Contradiction {
                        timeline: timeline.id(),
                        base,
                        revision,
                        reason: error.to_string(),
                    });
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

const fn tells_of_the_vault(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Verification | Kind::Gap | Kind::OutsideCoverage | Kind::NotFound
    )
}

fn is_sound(timeline: &Timeline, base: &BaseEntry, unsound: &BTreeSet<String>) -> bool {
    let mut chunks = base.manifest.chunks.iter();
    !unsound.contains(&base.name)
        && chunks.all(|chunk| !unsound.contains(&timeline.cluster().chunk_path(chunk.into())))
}

/// A base alone, and from it the segments as far as the next base, or as far as they go.
fn spans(inventory: &Inventory, position: usize) -> Vec<Span> {
    let mut bases = inventory.bases.iter().skip(position);
    let (Some(base), next) = (bases.next(), bases.next()) else {
        return Vec::new();
    };
    let at = base.revision;
    let mut spans = vec![Span {
        inventory: Inventory {
            bases: vec![base.clone()],
            ..Inventory::default()
        },
        base: at,
        to: at,
    }];
    let mut segments = inventory.segments.clone();
    segments.retain(|segment| {
        segment.last > at && next.is_none_or(|next| segment.first <= next.revision)
    });
    let facts = segments.iter().map(|segment| SegmentFact {
        first: segment.first,
        last: segment.last,
        level: segment.level,
    });
    let holdings = Holdings {
        bases: vec![BaseFact {
            revision: at,
            compact_revision: at,
        }],
        segments: facts.collect(),
        gaps: Vec::new(),
    };
    let reach = coverage(&holdings).last().map_or(at, |range| range.1);
    let next = next.filter(|next| next.revision <= reach);
    let to = next.map_or(reach, |next| next.revision);
    if to > at {
        let said = next.and_then(|next| next.manifest.facts.checkpoint);
        spans.push(Span {
            inventory: Inventory {
                bases: vec![which_says(base, said)],
                segments,
                ..Inventory::default()
            },
            base: at,
            to,
        });
    }
    spans
}

/// The base with what the source said at the next one in the place of what it said at this: the rows that lead there have to
/// give it. What it said at this one is compared where the base is replayed alone.
fn which_says(base: &BaseEntry, checkpoint: Option<Checkpoint>) -> BaseEntry {
    let mut base = base.clone();
    let mut manifest = (*base.manifest).clone();
    manifest.facts.checkpoint = checkpoint;
    base.manifest = Arc::new(manifest);
    base
}

/// Rows, and what of the source they were compared with.
async fn replay(
    source: &Source,
    to: Revision,
    cancelled: &watch::Receiver<bool>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<(u64, Vec<Proof>), RestoreError> {
    let request = Request {
        target: Target::Revision(to),
        history: History::AsSource,
        overlaps: Overlaps::All,
    };
    let prepared = Box::pin(prepare(source, request)).await?;
    let source = source.clone();
    let runtime = Handle::current();
    let cancelled = cancelled.clone();
    let working = spawn_blocking(move || {
        let recipe = &prepared.recipe;
        let feed = |pieces: &[_]| source.feed(&runtime, pieces.to_vec(), cancelled.clone());
        let expected = usize::try_from(prepared.index_rows).unwrap_or(usize::MAX);
        // The standard library seeds its hash maps from the operating system.
        let seed = RandomState::new().build_hasher().finish();
        let mut batches = feed(&prepared.index_pieces);
        let index = index_rows(recipe, &mut batches, seed, expected, |_| {})?;
        let mut batches = feed(&prepared.pieces);
        let replay = Replay::new(recipe, &index, seed);
        let replayed = replay.run(&mut batches, |_| Ok(()), |bytes| progress(bytes))?;
        Ok((replayed.rows, replayed.proofs))
    });
    working.await.map_err(|error| {
        RestoreError::new(Kind::Failed, "the replay's thread ended early").because(error)
    })?
}
