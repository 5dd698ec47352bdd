//! The vault as a restore sees it: one timeline, what it holds, and batches of its rows.

use std::collections::HashSet;

use revkeep_schemas::Revision;
use revkeep_vault::{
    BaseEntry, BaseManifest, Cluster, ClusterName, Coverage, Damage, ErrorKind, Inventory, Piece,
    ReadOptions, SegmentEntry, Timeline, TimelineId, Vault, VaultError,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::{Kind, RestoreError};
use crate::plan::History;
use crate::plan::{BaseFact, CompactFact, Holdings, Plan, SegmentFact, Target, choose, coverage};
use crate::replay::Feed;
use crate::survey::is_lost;
use crate::timelines::default_timeline;

/// Chunks, of some 4 MiB, and frames that are ready for a restore, which writes about as fast as they are unpacked.
const READY_BATCHES: usize = 2;

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
        let told = Self::new(kind, error.to_string());
        match error.object() {
            Some(object) if is_lost(&error) => told.of_lost_object(object),
            _ => told,
        }
    }
}

/// One timeline and what it holds.
#[derive(Clone, Debug)]
pub struct Source {
    /// The timeline.
    pub timeline: Timeline,
    /// What it holds.
    pub inventory: Inventory,
    /// Segments that were taken out of the inventory because they are damaged.
    set_aside: Vec<SegmentEntry>,
    /// Bases that were taken out because a chunk of theirs is damaged; their manifests are sound.
    bases_aside: Vec<BaseEntry>,
    /// Whether nobody named the timeline, and there are others.
    among_others: bool,
}

/// Opens a cluster of a vault.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such vault or cluster; the message names the clusters that are there.
pub async fn open_cluster(url: &str, name: &str) -> Result<Cluster, RestoreError> {
    let name = checked(name)?;
    find_cluster(&Vault::open(url).await?, &name).await
}

/// Checks the name of a cluster.
///
/// # Errors
/// [`Kind::Invalid`] for one that no vault can hold.
pub fn checked(name: &str) -> Result<ClusterName, RestoreError> {
    ClusterName::new(name).map_err(|error| RestoreError::new(Kind::Invalid, error.to_string()))
}

/// Finds a cluster of a vault.
///
/// # Errors
/// As [`open_cluster`].
pub async fn find_cluster(vault: &Vault, name: &ClusterName) -> Result<Cluster, RestoreError> {
    let cluster = vault.cluster(name);
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

/// The number of a timeline, as `--timeline` takes it.
///
/// # Errors
/// [`Kind::Invalid`] for what is none.
pub fn timeline_id(id: &str) -> Result<TimelineId, RestoreError> {
    id.parse().map(TimelineId).map_err(|_| {
        RestoreError::new(
            Kind::Invalid,
            format!("--timeline {id:?}: give a number, such as 0001"),
        )
    })
}

/// Finds a timeline of a cluster, by default the newest that has a base. Says whether it was taken by default, and there are
/// others.
async fn take_timeline(
    cluster: &Cluster,
    timeline: Option<&str>,
) -> Result<(Timeline, bool), RestoreError> {
    let absent = || RestoreError::new(Kind::NotFound, "the cluster has no timeline");
    match timeline {
        None => default_timeline(cluster).await?.ok_or_else(absent),
        Some(id) => Ok((cluster.timeline(timeline_id(id)?).await?, false)),
    }
}

impl Source {
    /// Opens a timeline of a cluster, by default the newest that has a base.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a timeline that is not there.
    pub async fn open(cluster: &Cluster, timeline: Option<&str>) -> Result<Self, RestoreError> {
        let (timeline, among_others) = take_timeline(cluster, timeline).await?;
        let inventory = timeline.inventory().await?;
        Ok(Self {
            among_others,
            ..Self::of(timeline, inventory)
        })
    }

    /// A timeline and what of it is known.
    #[must_use]
    pub const fn of(timeline: Timeline, inventory: Inventory) -> Self {
        Self {
            timeline,
            inventory,
            set_aside: Vec::new(),
            bases_aside: Vec::new(),
            among_others: false,
        }
    }

    /// Whether nobody named the timeline, and there are others.
    pub(crate) const fn taken_among_others(&self) -> bool {
        self.among_others
    }

    /// Whether a round of deletions took any of it: then what is missing is no damage. What the store kept of such a round,
    /// because it is locked for one, was not taken.
    ///
    /// # Errors
    /// As the vault fails.
    pub async fn is_swept(&self) -> Result<bool, RestoreError> {
        let cluster = self.timeline.cluster();
        let segments = self.inventory.segments.iter().chain(&self.set_aside);
        let mut names: HashSet<_> = segments.map(|segment| segment.name.clone()).collect();
        for base in self.inventory.bases.iter().chain(&self.bases_aside) {
            names.insert(base.name.clone());
            let chunks = base.manifest.chunks.iter();
            names.extend(chunks.map(|chunk| cluster.chunk_object(chunk)));
        }
        Ok(cluster.has_swept_any(&names).await?)
    }

    /// Takes segments out of the inventory, by their positions, because they cannot be used.
    pub fn set_aside(&mut self, unusable: &[(usize, String)]) {
        for (position, reason) in unusable {
            if let Some(entry) = self.inventory.segments.get(*position) {
                self.inventory.damaged.push(Damage {
                    name: entry.name.clone(),
                    reason: reason.clone(),
                });
                self.set_aside.push(entry.clone());
            }
        }
        let lost: Vec<_> = unusable.iter().map(|(position, _)| *position).collect();
        let mut position = 0;
        self.inventory.segments.retain(|_| {
            position += 1;
            !lost.contains(&(position - 1))
        });
    }

    /// Takes the object out of the inventory that an error says to be damaged or gone: a segment, or a chunk with all bases
    /// that list it. Says whether anything was taken out, so that it is worth another try.
    pub fn set_lost_aside(&mut self, error: &RestoreError) -> bool {
        let Some(lost) = error.lost_object() else {
            return false;
        };
        let mut segments = self.inventory.segments.iter();
        if let Some(position) = segments.position(|entry| entry.name == lost) {
            self.set_aside(&[(position, error.to_string())]);
            return true;
        }
        let cluster = self.timeline.cluster();
        let lists = |base: &BaseEntry| {
            let mut chunks = base.manifest.chunks.iter();
            chunks.any(|chunk| cluster.chunk_object(chunk) == lost)
        };
        let (lost, sound): (Vec<_>, Vec<_>) = std::mem::take(&mut self.inventory.bases)
            .into_iter()
            .partition(lists);
        self.inventory.bases = sound;
        let damaged = lost.iter().map(|base| Damage {
            name: base.name.clone(),
            reason: format!("{}: a chunk of it cannot be used: {error}", base.name),
        });
        self.inventory.damaged.extend(damaged);
        let any = !lost.is_empty();
        self.bases_aside.extend(lost);
        any
    }

    /// What has to be said of damaged objects where a plan does without them.
    #[must_use]
    pub fn damage_notes(&self) -> Vec<String> {
        let segments = self.set_aside.iter().map(|entry| entry.name.as_str());
        let aside = segments.chain(self.bases_aside.iter().map(|base| base.name.as_str()));
        let aside: Vec<_> = aside.collect();
        let notes = self.inventory.damaged.iter().map(|damage| {
            if aside.contains(&damage.name.as_str()) {
                format!("went around what is damaged; mend it: {}", damage.reason)
            } else {
                format!("not needed, but mend it: {}", damage.reason)
            }
        });
        notes.collect()
    }

    /// Where the source stood compacted, as the manifests of all bases say, also of those whose chunks cannot be used: going
    /// around one must not change the result.
    #[must_use]
    pub fn base_compactions(&self) -> Vec<CompactFact> {
        let bases = self.inventory.bases.iter().chain(&self.bases_aside);
        let facts = bases.map(|base| CompactFact {
            after: base.revision,
            compact_revision: base.compact_revision,
        });
        facts.collect()
    }

    /// Names the damaged objects in a refusal that they are the cause of: were they sound, there would be a plan. Of any other
    /// refusal it says where else to look.
    #[must_use]
    pub fn explain(&self, refusal: RestoreError, target: Target, history: History) -> RestoreError {
        let damaged = &self.inventory.damaged;
        if damaged.is_empty() || choose(&self.undamaged(), target, history).is_err() {
            let Some(before) = self.timeline_before() else {
                return refusal;
            };
            let told = RestoreError::new(refusal.kind(), format!("{refusal}{before}"));
            return told.with_nearest(refusal.nearest());
        }
        let named: Vec<_> = damaged
            .iter()
            .map(|damage| damage.reason.as_str())
            .collect();
        let message = format!("{refusal}. The vault is damaged: {}", named.join("; "));
        RestoreError::new(Kind::Verification, message).with_nearest(refusal.nearest())
    }

    /// Where to look for what this timeline does not have: the one that it was opened after.
    #[must_use]
    pub fn timeline_before(&self) -> Option<String> {
        let (parent, _) = self.timeline.record().parent?;
        Some(format!(
            "; it may be in the timeline before. Try: --timeline {parent}"
        ))
    }

    /// What planning needs to know, in the order of the inventory's lists.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let inventory = &self.inventory;
        let bases = inventory.bases.iter().map(|base| BaseFact {
            revision: base.revision,
            compact_revision: base.compact_revision,
        });
        let segments = inventory.segments.iter().map(segment_fact);
        let gaps = Coverage::compute(inventory).gaps;
        Holdings {
            bases: bases.collect(),
            segments: segments.collect(),
            gaps: gaps.iter().map(|gap| (gap.first, gap.last)).collect(),
        }
    }

    /// What planning would know at most if nothing were damaged.
    fn undamaged(&self) -> Holdings {
        let mut whole = self.holdings();
        whole
            .segments
            .extend(self.set_aside.iter().map(segment_fact));
        let damaged = &self.inventory.damaged;
        whole
            .bases
            .extend(damaged.iter().filter_map(|damage| base_of(&damage.name)));
        whole
    }

    /// The target as a revision. The newest is the one that the vault would reach if nothing were damaged: damage must
    /// not make an older one pass for it.
    #[must_use]
    pub fn resolve(&self, target: Target) -> Target {
        let newest = || coverage(&self.undamaged()).last().map(|range| range.1);
        match target {
            Target::Latest => newest().map_or(target, Target::Revision),
            Target::Revision(_) => target,
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

    /// Starts reading pieces; the batches come through a bounded channel.
    #[must_use]
    pub fn feed(
        &self,
        runtime: &Handle,
        pieces: Vec<Piece>,
        cancelled: watch::Receiver<bool>,
    ) -> Feed {
        let _guard = runtime.enter();
        let options = ReadOptions {
            ready: READY_BATCHES,
            ..ReadOptions::default()
        };
        let rows = self.timeline.read_rows(pieces, options);
        Feed::new(runtime.clone(), rows, cancelled)
    }
}

/// What a manifest or a listing names must be there: an object that is gone is damage, not a wrong question.
pub(crate) fn promised(error: VaultError) -> RestoreError {
    let gone = error.kind() == ErrorKind::NotFound;
    let error = RestoreError::from(error);
    if gone {
        let told = RestoreError::new(Kind::Verification, error.to_string());
        return match error.lost_object() {
            Some(object) => told.of_lost_object(object),
            None => told,
        };
    }
    error
}

fn segment_fact(segment: &SegmentEntry) -> SegmentFact {
    SegmentFact {
        first: segment.first,
        last: segment.last,
        level: segment.level,
    }
}

/// What a base whose manifest cannot be read might hold at most, by its name, `…/bases/{revision}-{uid}`.
fn base_of(name: &str) -> Option<BaseFact> {
    let (folder, file) = name.rsplit_once('/')?;
    let (revision, _) = file.split_once('-')?;
    let revision = Revision(revision.parse().ok()?);
    folder.ends_with("/bases").then_some(BaseFact {
        revision,
        compact_revision: Revision::ZERO,
    })
}
