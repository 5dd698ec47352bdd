//! Reads what a plan is made from.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use revkeep_schemas::manifest::{SourceIdentity, TimelineRecord};
use revkeep_schemas::names::TimelineId;

use super::history::{History, Pinned, StoredBase, StoredSegment, TimelineHistory};
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::Damage;
use crate::layout::{self, ChunkName, NameKind};
use crate::timeline::Timeline;

/// Manifests that are fetched at once.
const PARALLEL_GETS: usize = 8;

/// What the vault holds of a cluster, for a plan.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Its bases, segments and pins.
    pub history: History,
    /// Bases, pins and records of timelines that cannot be read, and bases that lack a chunk, where that was looked for. What
    /// is needed beside or in place of them is not known, so while there are any nothing may be deleted.
    pub damaged: Vec<Damage>,
}

impl Cluster {
    /// Lists the cluster, and reads the manifests of its bases. `now` should be by the object store's clock.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn survey(&self, now: DateTime<Utc>) -> Result<Survey, VaultError> {
        let mut survey = Survey {
            history: History {
                now,
                timelines: Vec::new(),
                pins: Vec::new(),
            },
            damaged: Vec::new(),
        };
        for id in self.timeline_ids().await? {
            if let Some(timeline) = self.surveyed(id, &mut survey.damaged).await? {
                let history = timeline.history(&mut survey.damaged).await?;
                survey.history.timelines.push(history);
            }
        }
        // Last, so that a pin which was set before this began is seen.
        for name in self.pin_names().await? {
            match self.pin(&name).await {
                Ok(Some(pin)) => survey.history.pins.push(Pinned {
                    name: name.to_string(),
                    timeline: pin.timeline,
                    revision: pin.revision,
                    expires: pin
                        .expires_unix_ms
                        .and_then(DateTime::from_timestamp_millis),
                }),
                // Taken back since.
                Ok(None) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Config) => {
                    survey.damaged.push(Damage {
                        name: layout::pin_path(&self.name, &name),
                        reason: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(survey)
    }

    /// A timeline whose folder was listed; `None` while there is only the folder. What it holds has names that tell enough, so
    /// one whose record is damaged is looked at all the same.
    async fn surveyed(
        &self,
        id: TimelineId,
        damaged: &mut Vec<Damage>,
    ) -> Result<Option<Timeline>, VaultError> {
        match self.born(id).await {
            Err(error) if error.is_damage() => {
                damaged.push(Damage {
                    name: self.timeline_name(id).path(),
                    reason: error.to_string(),
                });
                let record = TimelineRecord {
                    source: SourceIdentity::default(),
                    parent: None,
                    fork_at_most: false,
                };
                Ok(Some(self.known_timeline(id, record)))
            }
            other => other,
        }
    }

    /// All chunks that are there: when they were stored, and their bytes.
    pub(crate) async fn stored_chunks(
        &self,
    ) -> Result<HashMap<ChunkName, (DateTime<Utc>, u64)>, VaultError> {
        let objects = &self.vault.objects;
        let name = layout::chunks_folder(&self.name);
        let folder = objects.path(&name);
        let listed = objects.list(&name).await?.into_iter();
        let chunk = |meta: object_store::ObjectMeta| {
            let name = layout::parse_chunk(&folder, &meta.location)?;
            Some((name, (meta.last_modified, meta.size)))
        };
        Ok(listed.filter_map(chunk).collect())
    }
}

impl Timeline {
    async fn history(&self, damaged: &mut Vec<Damage>) -> Result<TimelineHistory, VaultError> {
        let objects = &self.cluster.vault.objects;
        let folder = layout::timeline_folder(&self.cluster.name, self.id);
        let path = objects.path(&folder);
        let mut history = TimelineHistory {
            id: self.id,
            bases: Vec::new(),
            segments: Vec::new(),
        };
        let mut bases = Vec::new();
        for meta in objects.list(&folder).await? {
            let Some(kind) = layout::parse(&path, &meta.location) else {
                continue;
            };
            let name = self.name(kind);
            match kind {
                NameKind::Base { .. } => bases.push((name, meta)),
                NameKind::Segment { first, last, .. } => history.segments.push(StoredSegment {
                    name: name.path(),
                    stored: meta.last_modified,
                    first,
                    last,
                    bytes: meta.size,
                }),
                // They are small, and say what can never be brought back.
                NameKind::Gap { .. } | NameKind::Timeline => {}
            }
        }
        let mut read = stream::iter(bases)
            .map(async |(name, meta)| (self.base(&name).await, name, meta))
            .buffered(PARALLEL_GETS);
        while let Some((manifest, name, meta)) = read.next().await {
            let manifest = match manifest {
                Ok(manifest) => manifest,
                // Void, or deleted since.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Config) => {
                    damaged.push(Damage {
                        name: name.path(),
                        reason: error.to_string(),
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let chunks = manifest.chunks.iter();
            let chunks: Arc<[_]> = chunks
                .map(|chunk| (ChunkName::from(chunk), chunk.stored_bytes))
                .collect();
            history.bases.push(StoredBase {
                name: name.path(),
                stored: meta.last_modified,
                revision: manifest.facts.revision,
                compact_revision: manifest.facts.compact_revision,
                bytes: meta.size,
                chunks,
            });
        }
        history
            .bases
            .sort_by(|a, b| (a.revision, a.stored, &a.name).cmp(&(b.revision, b.stored, &b.name)));
        history
            .segments
            .sort_by(|a, b| (a.first, a.last, &a.name).cmp(&(b.first, b.last, &b.name)));
        Ok(history)
    }
}
