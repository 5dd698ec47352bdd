//! What a timeline holds, as a listing and the manifests of its bases say.

mod newest;

use std::sync::Arc;

use futures::{StreamExt, stream};
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::{BaseManifest, GapRecord};
use revkeep_schemas::names::{TimelineId, Uid};

use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout::{self, NameKind, ObjectName};
use crate::timeline::Timeline;

#[cfg(test)]
pub(crate) use newest::reach;
pub use newest::{Newest, Trusted};

/// Manifests that are fetched at once.
const PARALLEL_GETS: usize = 8;

/// A base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseEntry {
    /// The object, below the vault's prefix.
    pub name: String,
    /// The revision of the snapshot.
    pub revision: Revision,
    /// The source's compact revision in it.
    pub compact_revision: Revision,
    /// Its manifest.
    pub manifest: Arc<BaseManifest>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// The object, below the vault's prefix.
    pub name: String,
    /// 0 for what agents flushed; higher for merges.
    pub level: u8,
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// The unique suffix of its name.
    pub uid: Uid,
    /// The size of the object.
    pub bytes: u64,
}

/// A recorded gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapEntry {
    /// The object, below the vault's prefix.
    pub name: String,
    /// What was lost, and why.
    pub record: GapRecord,
}

/// An object that is there and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The object, below the vault's prefix.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// All that a timeline holds, each list in the order of revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The bases whose manifests are sound.
    pub bases: Vec<BaseEntry>,
    /// The segments, by first and last revision.
    pub segments: Vec<SegmentEntry>,
    /// The recorded gaps.
    pub gaps: Vec<GapEntry>,
    /// Manifests and gaps that are damaged: nothing here counts on them.
    pub damaged: Vec<Damage>,
}

/// The names of a timeline, before any object was read.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub(crate) bases: Vec<ObjectName>,
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) gaps: Vec<ObjectName>,
}

impl Listing {
    /// The segments, by first and last revision.
    pub fn segments(&self) -> &[SegmentEntry] {
        &self.segments
    }

    /// The revisions of all bases, ascending, whether their manifests are sound or not.
    pub fn bases(&self) -> impl DoubleEndedIterator<Item = Revision> {
        self.bases.iter().filter_map(base_revision)
    }

    /// The highest revision that any name tells of: of a base, a segment or a gap; zero where there is none.
    pub fn highest(&self) -> Revision {
        let segments = self.segments.iter().map(|segment| segment.last);
        let gaps = self.gaps.iter().filter_map(|name| match name.kind {
            NameKind::Gap { last, .. } => Some(last),
            _ => None,
        });
        let all = self.bases().chain(segments).chain(gaps);
        all.fold(Revision::ZERO, Ord::max)
    }
}

fn base_revision(name: &ObjectName) -> Option<Revision> {
    match name.kind {
        NameKind::Base { revision, .. } => Some(revision),
        _ => None,
    }
}

impl Inventory {
    /// Takes the segments out that hold what is recorded not to be what the source had.
    pub(crate) fn set_distrusted_aside(&mut self) {
        for gap in self.gaps.iter().map(|gap| &gap.record) {
            if !gap.distrusted {
                continue;
            }
            let damaged = &mut self.damaged;
            self.segments.retain(|segment| {
                let holds = segment.first <= gap.last && segment.last >= gap.first;
                if holds {
                    damaged.push(Damage {
                        name: segment.name.clone(),
                        reason: distrusted(&segment.name, gap),
                    });
                }
                !holds
            });
        }
    }
}

/// What is said of a segment that holds what is recorded not to be what the source had.
pub(crate) fn distrusted(segment: &str, gap: &GapRecord) -> String {
    format!(
        "{segment}: what it holds of revisions {} to {} is not used: {}",
        gap.first, gap.last, gap.reason
    )
}

impl Cluster {
    /// Lists a timeline; reads no object. One that is not there has nothing.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn listing(&self, timeline: TimelineId) -> Result<Listing, VaultError> {
        let objects = &self.vault.objects;
        let folder = layout::timeline_folder(&self.name, timeline);
        let path = objects.path(&folder);
        let mut names = Listing::default();
        for meta in objects.list(&folder).await? {
            let Some(kind) = layout::parse(&path, &meta.location) else {
                continue;
            };
            let name = ObjectName {
                cluster: self.name.clone(),
                timeline,
                kind,
            };
            match kind {
                NameKind::Base { .. } => names.bases.push(name),
                NameKind::Gap { .. } => names.gaps.push(name),
                NameKind::Segment {
                    level,
                    first,
                    last,
                    uid,
                } => names.segments.push(SegmentEntry {
                    name: name.path(),
                    level,
                    first,
                    last,
                    uid,
                    bytes: meta.size,
                }),
                NameKind::Timeline => {}
            }
        }
        names.bases.sort_by_key(|name| name.kind);
        names.gaps.sort_by_key(|name| name.kind);
        names
            .segments
            .sort_by_key(|entry| (entry.first, entry.last, entry.level, entry.uid));
        Ok(names)
    }
}

impl Timeline {
    /// Lists the timeline; reads no object.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn listing(&self) -> Result<Listing, VaultError> {
        self.cluster.listing(self.id).await
    }

    /// Lists the timeline and reads the manifests of its bases. What is damaged is told and left out.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn inventory(&self) -> Result<Inventory, VaultError> {
        self.read_inventory(self.listing().await?).await
    }

    /// What a listing names with one base alone: the newest at or below `revision`. Other manifests and the gaps are not
    /// read, so what it lacks may be there all the same.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn inventory_at(
        &self,
        listing: &Listing,
        revision: Revision,
    ) -> Result<Inventory, VaultError> {
        let mut bases = listing.bases.iter().rev();
        let base = bases.find(|name| base_revision(name).is_some_and(|base| base <= revision));
        let part = Listing {
            bases: base.into_iter().cloned().collect(),
            segments: listing.segments.clone(),
            gaps: Vec::new(),
        };
        self.read_inventory(part).await
    }

    async fn read_inventory(&self, names: Listing) -> Result<Inventory, VaultError> {
        let mut inventory = Inventory {
            segments: names.segments,
            ..Inventory::default()
        };
        let mut bases = stream::iter(names.bases)
            .map(async |name| (name.path(), self.base(&name).await))
            .buffered(PARALLEL_GETS);
        while let Some((name, manifest)) = bases.next().await {
            if let Some(manifest) = usable(&mut inventory.damaged, &name, manifest)? {
                inventory.bases.push(BaseEntry {
                    name,
                    revision: manifest.facts.revision,
                    compact_revision: manifest.facts.compact_revision,
                    manifest: Arc::new(manifest),
                });
            }
        }
        let mut gaps = stream::iter(names.gaps)
            .map(async |name| (name.path(), self.gap(&name).await))
            .buffered(PARALLEL_GETS);
        while let Some((name, record)) = gaps.next().await {
            if let Some(record) = usable(&mut inventory.damaged, &name, record)? {
                inventory.gaps.push(GapEntry { name, record });
            }
        }
        inventory.set_distrusted_aside();
        Ok(inventory)
    }

    /// The segments, by first and last revision.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn segments(&self) -> Result<Vec<SegmentEntry>, VaultError> {
        Ok(self.listing().await?.segments)
    }

    /// The oldest base above a revision whose manifest is sound.
    ///
    /// # Errors
    /// As [`Timeline::newest`].
    pub async fn oldest_above(
        &self,
        revision: Revision,
    ) -> Result<Option<BaseManifest>, VaultError> {
        for name in &self.listing().await?.bases {
            if !matches!(name.kind, NameKind::Base { revision: at, .. } if at > revision) {
                continue;
            }
            match self.base(name).await {
                Ok(base) => return Ok(Some(base)),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn usable<T>(
    damaged: &mut Vec<Damage>,
    name: &str,
    read: Result<T, VaultError>,
) -> Result<Option<T>, VaultError> {
    match read {
        Ok(read) => Ok(Some(read)),
        // Deleted between the listing and the get.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Config) => {
            damaged.push(Damage {
                name: name.to_owned(),
                reason: error.to_string(),
            });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
