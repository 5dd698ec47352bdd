//! Names, as the object store lists them.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use object_store::ObjectMeta;
use object_store::path::Path;
use revkeep_schemas::names::{PinName, TimelineId};

use super::found::{Amount, Place};
use crate::cluster::Cluster;
use crate::error::VaultError;
use crate::layout::{self, NameKind};
use crate::retention::parse_round;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// What a listing says of an object besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) bytes: u64,
    /// When the store took it.
    pub(super) stored_ms: i64,
}

impl Meta {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            bytes: meta.size,
            stored_ms: meta.last_modified.timestamp_millis(),
        }
    }

    /// The day on which it was stored, from 1970 on.
    pub(super) const fn day(self) -> i64 {
        self.stored_ms.div_euclid(DAY_MS)
    }
}

/// The names of a cluster, or some of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) objects: BTreeMap<Place, Meta>,
    pub(super) pins: BTreeMap<PinName, Meta>,
    /// When the store took each part of a round.
    pub(super) rounds: BTreeMap<u32, [Option<i64>; 4]>,
    pub(super) chunks: BTreeMap<i64, Amount>,
    /// The names of receipts in their folder.
    pub(super) receipts: BTreeMap<String, Meta>,
    pub(super) head: Option<Meta>,
}

impl Names {
    /// All names of a cluster. Chunks are counted and forgotten, for they are most of all names.
    pub(super) async fn all(cluster: &Cluster) -> Result<Self, VaultError> {
        let mut names = Self::default();
        let objects = &cluster.vault.objects;
        let folder = format!("clusters/{}", cluster.name);
        let path = objects.path(&folder);
        let mut walk = objects.walk(&folder, None);
        while let Some(meta) = walk.try_next().await? {
            names.take(&path, &meta);
        }
        Ok(names)
    }

    fn take(&mut self, folder: &Path, meta: &ObjectMeta) {
        let Some(mut parts) = meta.location.prefix_match(folder) else {
            return;
        };
        let Some(first) = parts.next() else { return };
        let inner = folder.clone().join(first.as_ref());
        let location = &meta.location;
        let about = Meta::of(meta);
        match first.as_ref() {
            "head" if parts.next().is_none() => self.head = Some(about),
            "chunks" => {
                if layout::parse_chunk(&inner, location).is_some() {
                    let amount = self.chunks.entry(about.day()).or_default();
                    amount.objects += 1;
                    amount.bytes += i64::try_from(about.bytes).unwrap_or(i64::MAX);
                }
            }
            "pins" => {
                let name = parts
                    .next()
                    .and_then(|name| PinName::new(name.as_ref()).ok());
                if let Some(name) = name.filter(|_| parts.next().is_none()) {
                    self.pins.insert(name, about);
                }
            }
            "receipts" => {
                let name = parts.next().filter(|_| parts.next().is_none());
                let name = name.filter(|name| layout::parse_receipt(name.as_ref()).is_some());
                self.receipts
                    .extend(name.map(|name| (name.as_ref().to_owned(), about)));
            }
            "deletions" => {
                if let Some((number, part)) = parse_round(&inner, location) {
                    let stored = self.rounds.entry(number).or_default();
                    if let Some(stored) = stored.get_mut(part as usize) {
                        *stored = Some(about.stored_ms);
                    }
                }
            }
            timeline => {
                if let Ok(timeline) = timeline.parse::<TimelineId>()
                    && let Some(kind) = kind_at(&inner, location)
                {
                    self.objects.insert((timeline, kind), about);
                }
            }
        }
    }

    /// Adds what sorts after a name in a folder of a timeline, such as `segments/0`.
    pub(super) async fn add_after(
        &mut self,
        cluster: &Cluster,
        timeline: TimelineId,
        folder: &str,
        after: Option<&str>,
    ) -> Result<(), VaultError> {
        let objects = &cluster.vault.objects;
        let inner = layout::timeline_folder(&cluster.name, timeline);
        let path = objects.path(&inner);
        let mut walk = objects.walk(&format!("{inner}/{folder}"), after);
        while let Some(meta) = walk.try_next().await? {
            if let Some(kind) = layout::parse(&path, &meta.location) {
                self.objects.insert((timeline, kind), Meta::of(&meta));
            }
        }
        Ok(())
    }
}

/// What stands at a name in the folder of a timeline, its record among it.
pub(super) fn kind_at(folder: &Path, location: &Path) -> Option<NameKind> {
    let mut parts = location.prefix_match(folder)?;
    if parts.next()?.as_ref() == "timeline" && parts.next().is_none() {
        return Some(NameKind::Timeline);
    }
    layout::parse(folder, location)
}

/// What an object is called in `stored` and `damaged`, and its level.
pub(super) const fn kind(place: &Place) -> (&'static str, i64) {
    match place.1 {
        NameKind::Timeline => ("timeline", 0),
        NameKind::Base { .. } => ("base", 0),
        NameKind::Segment { level, .. } => ("segment", level as i64),
        NameKind::Gap { .. } => ("gap", 0),
    }
}
