//! What may stand in a cluster's folder.

use object_store::ObjectMeta;
use revkeep_schemas::Revision;
use revkeep_schemas::envelope::Identity;
use revkeep_schemas::names::{PinName, TimelineId, Uid};

use crate::cluster::Cluster;
use crate::error::VaultError;
use crate::layout::{self, ChunkName, NameKind, ObjectName};
use crate::retention::{Part, Rounds};
use crate::writing;

/// Which object a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An object of a timeline.
    Timeline(ObjectName),
    /// A chunk.
    Chunk(ChunkName),
    /// A pin.
    Pin(PinName),
    /// That a base is written.
    Intent(TimelineId, Revision, Uid),
    /// A part of a round of deletions.
    Round(u32, Part),
    /// What came of a verification or a drill, by its name.
    Receipt(String),
}

/// An object that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its name, below the vault's prefix.
    pub(super) name: String,
    /// What its name asks for.
    pub(super) place: Place,
    /// Its size.
    pub(super) bytes: u64,
}

impl Place {
    /// What must stand in the envelope. `None` for chunks, whose revisions only their manifests know.
    pub(super) fn identity(&self, cluster: &Cluster) -> Option<Identity> {
        let vault = cluster.vault.id;
        match self {
            Self::Timeline(name) => Some(name.identity(vault)),
            Self::Chunk(_) => None,
            Self::Pin(name) => Some(layout::pin_identity(vault, &cluster.name, name)),
            Self::Intent(timeline, revision, uid) => {
                let name = ObjectName {
                    cluster: cluster.name.clone(),
                    timeline: *timeline,
                    kind: NameKind::Base {
                        revision: *revision,
                        uid: *uid,
                    },
                };
                Some(writing::intent_identity(vault, &name))
            }
            Self::Round(number, part) => Some(Rounds(cluster).identity(*number, *part)),
            Self::Receipt(name) => Some(layout::receipt_identity(vault, &cluster.name, name)),
        }
    }

    /// Whether whoever may delete it leaves no word: a pin that a person takes back, an intent whose base was settled, an old
    /// receipt.
    pub(super) fn goes_silently(&self) -> bool {
        matches!(self, Self::Pin(_) | Self::Intent(..) | Self::Receipt(_))
    }
}

impl Cluster {
    /// The name of an object that agents or retention write for good.
    pub(super) fn name_of(&self, place: &Place) -> Option<String> {
        match place {
            Place::Timeline(name) => Some(name.path()),
            Place::Chunk(chunk) => Some(layout::chunk_path(&self.name, *chunk)),
            Place::Round(number, part) => Some(Rounds(self).path(*number, *part)),
            Place::Pin(_) | Place::Intent(..) | Place::Receipt(_) => None,
        }
    }

    /// The objects of its timelines, and the numbers of those timelines.
    pub(super) async fn standing_in_timelines(
        &self,
    ) -> Result<(Vec<TimelineId>, Vec<Standing>), VaultError> {
        let objects = &self.vault.objects;
        let timelines = self.timeline_ids().await?;
        let mut all = Vec::new();
        for timeline in &timelines {
            let folder = layout::timeline_folder(&self.name, *timeline);
            let path = objects.path(&folder);
            let record = self.timeline_name(*timeline);
            let record_path = objects.path(&record.path());
            let place = |meta: &ObjectMeta| {
                if meta.location == record_path {
                    return Some(record.clone());
                }
                let kind = layout::parse(&path, &meta.location)?;
                Some(ObjectName {
                    kind,
                    ..record.clone()
                })
            };
            for meta in objects.list(&folder).await? {
                if let Some(name) = place(&meta) {
                    all.push(Standing {
                        name: name.path(),
                        place: Place::Timeline(name),
                        bytes: meta.size,
                    });
                }
            }
        }
        Ok((timelines, all))
    }

    /// Its pins. To be listed before its timelines, so that what brings their revisions back is listed.
    pub(super) async fn standing_pins(&self) -> Result<Vec<Standing>, VaultError> {
        let objects = &self.vault.objects;
        let mut all = Vec::new();
        for meta in objects.list(&layout::pins_folder(&self.name)).await? {
            let file = meta.location.filename();
            if let Some(pin) = file.and_then(|file| PinName::new(file).ok()) {
                all.push(Standing {
                    name: layout::pin_path(&self.name, &pin),
                    place: Place::Pin(pin),
                    bytes: meta.size,
                });
            }
        }
        Ok(all)
    }

    /// What stands in the cluster's other folders. To be listed after its timelines, so that the chunks of every base that
    /// was listed are there.
    pub(super) async fn standing_beside(&self) -> Result<Vec<Standing>, VaultError> {
        let objects = &self.vault.objects;
        let mut all = Vec::new();
        let chunks = layout::chunks_folder(&self.name);
        let folder = objects.path(&chunks);
        for meta in objects.list(&chunks).await? {
            if let Some(chunk) = layout::parse_chunk(&folder, &meta.location) {
                all.push(Standing {
                    name: layout::chunk_path(&self.name, chunk),
                    place: Place::Chunk(chunk),
                    bytes: meta.size,
                });
            }
        }
        let intents = writing::intents_folder(self);
        for meta in objects.list(&intents).await? {
            let file = meta.location.filename();
            let parsed = file.and_then(|file| Some((file, writing::parse_intent(file)?)));
            if let Some((file, (timeline, revision, uid))) = parsed {
                all.push(Standing {
                    name: format!("{intents}/{file}"),
                    place: Place::Intent(timeline, revision, uid),
                    bytes: meta.size,
                });
            }
        }
        let receipts = layout::receipts_folder(&self.name);
        for meta in objects.list(&receipts).await? {
            let file = meta.location.filename();
            let ours = |file: &&str| layout::parse_receipt(file).is_some();
            if let Some(file) = file.filter(ours) {
                all.push(Standing {
                    name: format!("{receipts}/{file}"),
                    place: Place::Receipt(file.to_owned()),
                    bytes: meta.size,
                });
            }
        }
        for (number, part, bytes) in Rounds(self).parts().await? {
            all.push(Standing {
                name: Rounds(self).path(number, part),
                place: Place::Round(number, part),
                bytes,
            });
        }
        Ok(all)
    }
}
