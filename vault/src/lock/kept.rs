//! Which objects something kept needs.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use revkeep_schemas::names::{PinName, TimelineId};

use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::Damage;
use crate::layout::{self, ChunkName, NameKind, ObjectName};
use crate::retention::{
    Decision, History, Pinned, Plan, StoredBase, StoredChunks, StoredSegment, Survey,
};
use crate::vault::FORMAT;

/// An object that something kept needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its name, below the vault's prefix.
    pub(crate) name: String,
    /// When the store took it.
    pub(crate) stored: DateTime<Utc>,
    /// Its bytes.
    pub(crate) bytes: u64,
}

/// How much of what is there is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What the plan keeps.
    Planned,
    /// All of it. The plan was made without what is damaged, or counts on it, so that nobody knows what is needed.
    Everything,
}

/// The bases and segments that are kept, and the chunks of these bases that are there; or all chunks. One that is gone can
/// have no date, and a survey names it.
pub(crate) fn kept(
    cluster: &Cluster,
    history: &History,
    plan: &Plan,
    chunks: &StoredChunks,
    extent: Extent,
) -> Vec<Kept> {
    let everything = extent == Extent::Everything;
    let mut all = Vec::new();
    let mut listed: BTreeSet<ChunkName> = BTreeSet::new();
    if everything {
        listed.extend(chunks.keys());
    }
    for (timeline, decided) in history.timelines.iter().zip(&plan.timelines) {
        let stays = |one: &(&StoredBase, &Decision)| everything || one.1.stays();
        for (base, _) in timeline.bases.iter().zip(&decided.bases).filter(stays) {
            listed.extend(base.chunks.iter().map(|(chunk, _)| *chunk));
            all.push(Kept {
                name: base.name.clone(),
                stored: base.stored,
                bytes: base.bytes,
            });
        }
        let stays = |one: &(&StoredSegment, &Decision)| everything || one.1.stays();
        let segments = timeline.segments.iter().zip(&decided.segments);
        all.extend(segments.filter(stays).map(|(segment, _)| Kept {
            name: segment.name.clone(),
            stored: segment.stored,
            bytes: segment.bytes,
        }));
    }
    all.extend(listed.into_iter().filter_map(|chunk| {
        let (stored, bytes) = *chunks.get(&chunk)?;
        Some(Kept {
            name: cluster.chunk_path(chunk),
            stored,
            bytes,
        })
    }));
    all
}

impl Cluster {
    /// What a plan does not name and never lets go: `FORMAT`, the records of timelines and of gaps, and the pins that have not
    /// expired.
    pub(super) async fn kept_records(&self, history: &History) -> Result<Vec<Kept>, VaultError> {
        let objects = &self.vault.objects;
        let mut all = Vec::new();
        let mut names = vec![FORMAT.to_owned()];
        for timeline in &history.timelines {
            let folder = layout::timeline_folder(&self.name, timeline.id);
            let path = objects.path(&folder);
            for meta in objects.list(&format!("{folder}/gaps")).await? {
                let Some(kind) = layout::parse(&path, &meta.location) else {
                    continue;
                };
                all.push(record(self.object(timeline.id, kind), &meta));
            }
            names.push(self.object(timeline.id, NameKind::Timeline));
        }
        for name in names {
            match objects.meta(&name).await {
                Ok(meta) => all.push(record(name, &meta)),
                // A history of a test, or a timeline whose record never came to be.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let live = |pin: &&Pinned| pin.expires.is_none_or(|end| end > history.now);
        let pins: BTreeSet<&str> = history
            .pins
            .iter()
            .filter(live)
            .map(|pin| pin.name.as_str())
            .collect();
        for meta in objects.list(&layout::pins_folder(&self.name)).await? {
            let file = meta.location.filename().unwrap_or_default();
            let Ok(name) = PinName::new(file) else {
                continue;
            };
            if pins.contains(name.as_str()) {
                all.push(record(layout::pin_path(&self.name, &name), &meta));
            }
        }
        Ok(all)
    }

    /// What a survey names as damaged and is not among these: manifests and pins that cannot be read.
    pub(super) async fn damaged_objects(
        &self,
        survey: &Survey,
        known: &[Kept],
    ) -> Result<Vec<Kept>, VaultError> {
        let known: BTreeSet<&str> = known.iter().map(|kept| kept.name.as_str()).collect();
        let mut all = Vec::new();
        for Damage { name, .. } in &survey.damaged {
            if known.contains(name.as_str()) {
                continue;
            }
            match self.vault.objects.meta(name).await {
                Ok(meta) => all.push(record(name.clone(), &meta)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn object(&self, timeline: TimelineId, kind: NameKind) -> String {
        let cluster = self.name.clone();
        let name = ObjectName {
            cluster,
            timeline,
            kind,
        };
        name.path()
    }
}

fn record(name: String, meta: &ObjectMeta) -> Kept {
    Kept {
        name,
        stored: meta.last_modified,
        bytes: meta.size,
    }
}
