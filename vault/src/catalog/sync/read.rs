//! Reads objects that are new.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use revkeep_schemas::manifest::{BaseManifest, ObjectList, RoundVerdict, TimelineRecord};
use revkeep_schemas::names::TimelineId;
use revkeep_schemas::segment::SegmentIndex;
use tokio::sync::Semaphore;

use super::super::marks;
use super::found::{BaseRow, Content, Found, FoundPin, FoundReceipt, Place, RoundRow, SegmentRow};
use super::known::place;
use super::listing::Meta;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::SegmentEntry;
use crate::layout::{NameKind, ObjectName};
use crate::retention::{Part, Rounds};
use crate::timeline::Timeline;
use revkeep_schemas::names::PinName;

/// Objects of one cluster that are asked for at once; over all clusters the permits count.
const AT_ONCE: usize = 16;

/// Reads objects of a cluster.
pub(super) struct Reader<'a> {
    pub(super) cluster: &'a Cluster,
    /// Requests at once, over all clusters.
    pub(super) permits: &'a Semaphore,
}

impl Reader<'_> {
    /// Reads all of these; what is gone is left out.
    pub(super) async fn objects(
        &self,
        places: Vec<(Place, Meta)>,
    ) -> Result<Vec<Found>, VaultError> {
        let mut reading = stream::iter(places)
            .map(|(place, meta)| async move {
                let _permit = self.permits.acquire().await;
                self.object(place, meta).await
            })
            .buffer_unordered(AT_ONCE);
        let mut all = Vec::new();
        while let Some(found) = reading.try_next().await? {
            all.extend(found);
        }
        Ok(all)
    }

    async fn object(&self, place: Place, meta: Meta) -> Result<Option<Found>, VaultError> {
        let content = match self.content(place, meta).await {
            Ok(content) => content,
            // Void, or deleted since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.is_damage() => Content::Damaged(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Some(Found {
            place,
            meta,
            content,
        }))
    }

    async fn content(&self, (id, kind): Place, meta: Meta) -> Result<Content, VaultError> {
        let timeline = self.timeline(id);
        match kind {
            NameKind::Timeline => {
                let record = self.cluster.timeline(id).await?.record().clone();
                Ok(Content::Timeline(record))
            }
            NameKind::Base { .. } => {
                let manifest = timeline.base(&self.name(id, kind)).await?;
                Ok(Content::Base(Box::new(base_row(&manifest))))
            }
            NameKind::Gap { .. } => {
                let record = timeline.gap(&self.name(id, kind)).await?;
                Ok(Content::Gap(record))
            }
            NameKind::Segment {
                level,
                first,
                last,
                uid,
            } => {
                let entry = SegmentEntry {
                    name: self.name(id, kind).path(),
                    level,
                    first,
                    last,
                    uid,
                    bytes: meta.bytes,
                };
                let index = timeline.segment_index(&entry).await?;
                Ok(Content::Segment(Box::new(segment_row(&index, &entry))))
            }
        }
    }

    /// The timeline as a place to read from; its record is not needed for that.
    fn timeline(&self, id: TimelineId) -> Timeline {
        let record = TimelineRecord {
            source: revkeep_schemas::manifest::SourceIdentity::default(),
            parent: None,
            fork_at_most: false,
        };
        self.cluster.known_timeline(id, record)
    }

    fn name(&self, timeline: TimelineId, kind: NameKind) -> ObjectName {
        ObjectName {
            cluster: self.cluster.name.clone(),
            timeline,
            kind,
        }
    }

    /// Reads pins.
    pub(super) async fn pins(
        &self,
        pins: Vec<(PinName, Meta)>,
    ) -> Result<Vec<FoundPin>, VaultError> {
        let mut found = Vec::new();
        for (name, meta) in pins {
            let _permit = self.permits.acquire().await;
            let pin = match self.cluster.pin(&name).await {
                Ok(Some(pin)) => Ok(pin),
                // Taken back since.
                Ok(None) => continue,
                Err(error) if error.is_damage() => Err(error.to_string()),
                Err(error) => return Err(error),
            };
            found.push(FoundPin { name, meta, pin });
        }
        Ok(found)
    }

    /// Reads receipts.
    pub(super) async fn receipts(
        &self,
        receipts: Vec<(String, Meta)>,
    ) -> Result<Vec<FoundReceipt>, VaultError> {
        let mut found = Vec::new();
        for (name, meta) in receipts {
            let _permit = self.permits.acquire().await;
            let receipt = match self.cluster.receipt(&name).await {
                Ok(Some(receipt)) => Ok(receipt),
                // Gone since.
                Ok(None) => continue,
                Err(error) if error.is_damage() => Err(error.to_string()),
                Err(error) => return Err(error),
            };
            found.push(FoundReceipt {
                name,
                meta,
                receipt,
            });
        }
        Ok(found)
    }

    /// Reads a round of deletions; or the name of the object that is damaged, and why.
    pub(super) async fn round(
        &self,
        number: u32,
        stored: [Option<i64>; 4],
    ) -> Result<Result<RoundRow, (String, String)>, VaultError> {
        let _permit = self.permits.acquire().await;
        let rounds = Rounds(self.cluster);
        let mut row = RoundRow {
            number,
            stored,
            ..RoundRow::default()
        };
        let [_, verdict, sweep, _] = stored;
        let damaged = |error: VaultError| {
            let name = format!("{}/{number:010}", rounds.folder());
            if error.is_damage() {
                Ok(Err((name, error.to_string())))
            } else {
                Err(error)
            }
        };
        if verdict.is_some() {
            match rounds.verdict(number).await {
                Ok(verdict) => row.taken_back = verdict == Some(RoundVerdict::TakenBack),
                Err(error) => return damaged(error),
            }
        }
        let part = if sweep.is_some() {
            Part::Sweep
        } else {
            Part::Mark
        };
        match rounds.objects(number, part).await {
            Ok(list) => self.count(&mut row, &list.unwrap_or_default(), part),
            Err(error) => return damaged(error),
        }
        Ok(Ok(row))
    }

    fn count(&self, row: &mut RoundRow, list: &ObjectList, part: Part) {
        row.bases = list.bases.len() as u64;
        row.segments = list.segments.len() as u64;
        row.chunks = list.chunks.len() as u64;
        row.bytes = list.bytes;
        if part == Part::Sweep {
            let names = list.bases.iter().chain(&list.segments);
            let places = names.filter_map(|name| place(&self.cluster.name, name));
            row.deleted = places.collect();
        }
    }
}

fn base_row(manifest: &BaseManifest) -> BaseRow {
    let facts = &manifest.facts;
    BaseRow {
        compact_revision: facts.compact_revision.0,
        started_ms: facts.started_unix_ms,
        finished_ms: facts.finished_unix_ms,
        rows: manifest.rows,
        plain_bytes: manifest.plain_bytes,
        chunk_bytes: manifest.stored_bytes,
        chunks: manifest.chunks.len() as u64,
        etcd_version: facts.etcd_version.clone(),
        checkpoint: facts.checkpoint,
    }
}

fn segment_row(index: &SegmentIndex, entry: &SegmentEntry) -> SegmentRow {
    let frames = index.frames.iter().filter(|frame| frame.rows > 0);
    let min_key = frames.clone().map(|frame| &frame.min_key).min().cloned();
    let unbounded = frames.clone().any(|frame| frame.max_key.is_none());
    let max_key = frames.filter_map(|frame| frame.max_key.as_ref()).max();
    SegmentRow {
        rows: index.rows,
        plain_bytes: index.plain_bytes,
        first_ms: index.times.first().map(|mark| mark.unix_ms),
        last_ms: index.times.last().map(|mark| mark.unix_ms),
        min_key,
        max_key: max_key.filter(|_| !unbounded).cloned(),
        marks: marks::of_index(index, entry.last),
        checkpoints: index
            .checkpoints
            .iter()
            .filter(|known| entry.first <= known.revision && known.revision <= entry.last)
            .copied()
            .collect(),
    }
}
