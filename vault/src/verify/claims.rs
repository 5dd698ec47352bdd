//! What objects say of each other, of the revisions that they cover, and of what was there before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::{BaseFacts, BaseManifest, ChunkRef, GapRecord, Head};
use revkeep_schemas::names::TimelineId;

use super::finding::{Lost, Wrong};
use super::ledger::Ledger;
use super::place::Place;
use super::run::{Known, VerifyOptions};
use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::error::VaultError;
use crate::holes::{Deleted, holes};
use crate::inventory::{BaseEntry, GapEntry, Inventory, SegmentEntry};
use crate::layout::{self, ChunkName, NameKind, ObjectName};
use crate::retention::{Part, Rounds};

impl Known {
    /// The chunks that sound bases list. Bases that contradict each other about one are named.
    pub(super) fn listed_chunks(&mut self) -> HashMap<ChunkName, ChunkRef> {
        let rows = |chunk: &ChunkRef| {
            let range = (chunk.first, chunk.last);
            (range, chunk.rows, chunk.plain_bytes, chunk.digest)
        };
        let mut listed: HashMap<ChunkName, ChunkRef> = HashMap::new();
        for (name, base) in self.bases.clone() {
            for chunk in &base.chunks {
                let known = *listed.entry(chunk.into()).or_insert(*chunk);
                if rows(&known) != rows(chunk) {
                    let reason = format!(
                        "it says {:?} of chunk {}, and another base {:?}",
                        rows(chunk),
                        ChunkName::from(chunk),
                        rows(&known)
                    );
                    self.find(name.path(), Wrong::Contradiction, reason);
                }
            }
        }
        listed
    }

    fn sweeps_in_doubt(&self) -> bool {
        let sweep = |place: &Place| matches!(place, Place::Round(_, Part::Sweep));
        let mut standing = self.standing.iter();
        standing.any(|it| sweep(&it.place) && self.is_unsound(&it.name))
            || self.missing.iter().any(sweep)
    }

    /// The objects of one timeline, listed or missing, by name.
    fn of_timeline(&self, timeline: TimelineId) -> impl Iterator<Item = (&ObjectName, u64)> {
        let listed = self.standing.iter().map(|it| (&it.place, it.bytes));
        let missing = self.missing.iter().map(|place| (place, 0));
        listed
            .chain(missing)
            .filter_map(move |(place, bytes)| match place {
                Place::Timeline(name) if name.timeline == timeline => Some((name, bytes)),
                _ => None,
            })
    }

    /// What a timeline holds, as far as `counts` has it.
    fn inventory(&self, timeline: TimelineId, counts: impl Fn(&str) -> bool) -> Inventory {
        let mut inventory = Inventory::default();
        for (name, bytes) in self.of_timeline(timeline) {
            let path = name.path();
            if !counts(&path) {
                continue;
            }
            match name.kind {
                NameKind::Base { revision, .. } => {
                    if let Some(manifest) = self.manifest(name, &path, revision) {
                        inventory.bases.push(BaseEntry {
                            name: path,
                            revision,
                            compact_revision: manifest.facts.compact_revision,
                            manifest,
                        });
                    }
                }
                NameKind::Segment {
                    level,
                    first,
                    last,
                    uid,
                } => inventory.segments.push(SegmentEntry {
                    name: path,
                    level,
                    first,
                    last,
                    uid,
                    bytes,
                }),
                NameKind::Gap { first, last, .. } => {
                    let read = self.gaps.iter().find(|(read, _)| read == name);
                    let record = read.map(|(_, record)| record.clone());
                    // Of one that cannot be read the name still says what was lost.
                    let record = record.unwrap_or_else(|| GapRecord {
                        first,
                        last,
                        reason: "its record cannot be read".to_owned(),
                        distrusted: false,
                    });
                    inventory.gaps.push(GapEntry { name: path, record });
                }
                NameKind::Timeline => {}
            }
        }
        inventory.set_distrusted_aside();
        inventory
    }

    /// The manifest of a base; for one that cannot be read, of a base of which only the revision is known; `None` for one
    /// that was given up.
    fn manifest(
        &self,
        name: &ObjectName,
        path: &str,
        revision: Revision,
    ) -> Option<Arc<BaseManifest>> {
        let sound = self.manifests.get(path).cloned();
        let stub = || {
            let facts = BaseFacts {
                revision,
                compact_revision: revision,
                ..BaseFacts::default()
            };
            Arc::new(BaseManifest::of_chunks(facts, Vec::new()))
        };
        let missing = || {
            self.missing
                .iter()
                .any(|it| matches!(it, Place::Timeline(it) if it == name))
        };
        sound.or_else(|| (self.is_unsound(path) || missing()).then(stub))
    }
}

impl Cluster {
    /// Compares what was read with what points to it, and with the ledger.
    pub(super) async fn compare_claims(
        &self,
        known: &mut Known,
        head: Option<&Head>,
        ledger: &mut Ledger,
        options: &VerifyOptions,
    ) -> Result<(), VaultError> {
        known.manifests = known
            .bases
            .iter()
            .map(|(name, base)| (name.path(), base.clone()))
            .collect();
        self.find_missing_records(known);
        self.find_missing_chunks(known, ledger, options).await?;
        self.find_what_was_there(known, ledger, options);
        let whole = |id: &TimelineId| (*id, known.inventory(*id, |_| true));
        let inventories: Vec<_> = known.timelines.iter().map(whole).collect();
        let expected: Vec<_> = inventories
            .iter()
            .map(|(id, inventory)| (*id, Coverage::compute(inventory)))
            .collect();
        // Where the list of what was deleted cannot be read, a hole may be of its making, and that is named already.
        if !known.sweeps_in_doubt() {
            for ((timeline, inventory), (_, coverage)) in inventories.iter().zip(&expected) {
                self.find_holes(known, *timeline, inventory, coverage);
            }
        }
        self.check_pins(known, &expected);
        match head {
            Some(head) => self.check_head(known, head, &expected, ledger),
            None if ledger.head().is_some() => {
                let reason = "it was there before; it is a hint, and the agent writes it anew";
                known.find(
                    layout::head_path(&self.name),
                    Wrong::Missing,
                    reason.to_owned(),
                );
            }
            None => {}
        }
        Ok(())
    }

    /// A timeline in which something stands was born.
    fn find_missing_records(&self, known: &mut Known) {
        for id in known.timelines.clone() {
            let kinds: Vec<_> = known.of_timeline(id).map(|(name, _)| name.kind).collect();
            if !kinds.is_empty() && !kinds.contains(&NameKind::Timeline) {
                let reason = "the timeline has no record".to_owned();
                known.find(self.timeline_name(id).path(), Wrong::Missing, reason);
            }
        }
    }

    async fn find_missing_chunks(
        &self,
        known: &mut Known,
        ledger: &mut Ledger,
        options: &VerifyOptions,
    ) -> Result<(), VaultError> {
        let there: HashSet<_> = known
            .standing
            .iter()
            .filter_map(|it| match it.place {
                Place::Chunk(chunk) => Some(chunk),
                _ => None,
            })
            .collect();
        let mut accepted = Vec::new();
        for (name, base) in known.bases.clone() {
            if known.swept.contains(&name.path()) {
                continue;
            }
            for chunk in base.chunks.iter().map(ChunkName::from) {
                let path = layout::chunk_path(&self.name, chunk);
                let short = self.short(&path);
                let gone = !there.contains(&chunk)
                    && !known.is_unsound(&path)
                    && !ledger.is_accepted(short);
                // A folder may be listed while a chunk in it is put.
                if gone && !self.stands(&path).await? {
                    let reason = format!("the base at revision {} lists it", base.facts.revision);
                    accepted.push(short.to_owned());
                    known.find(path, Wrong::Missing, reason);
                }
            }
        }
        // At the end, for what is accepted is told only once, and a run that is ended before tells nothing.
        if options.accept_missing {
            for short in accepted {
                ledger.saw(&short, 0);
                ledger.accept(&short);
            }
        }
        Ok(())
    }

    /// What the ledger saw and no round of deletions took.
    fn find_what_was_there(&self, known: &mut Known, ledger: &mut Ledger, options: &VerifyOptions) {
        let there: HashSet<_> = known
            .standing
            .iter()
            .map(|it| self.short(&it.name))
            .collect();
        let absent = ledger.absent(|name| there.contains(name));
        for short in absent {
            let name = format!("clusters/{}/{short}", self.name);
            let place = self.place_of(&short);
            let told = place.as_ref().is_none_or(Place::goes_silently);
            if told || known.swept.took(&name, ledger.has_outlasted(&short)) {
                ledger.forget(&short);
                continue;
            }
            known.missing.extend(place);
            if ledger.is_accepted(&short) {
                continue;
            }
            let reason = "it was there when this cluster was verified before, and retention has not deleted it";
            known.find(name, Wrong::Missing, reason.to_owned());
            if options.accept_missing {
                ledger.accept(&short);
            }
        }
        // Of a timeline that is gone altogether, too, it is said what is lost.
        let of_missing = known.missing.iter().filter_map(|place| match place {
            Place::Timeline(name) => Some(name.timeline),
            _ => None,
        });
        known.timelines.extend(of_missing);
        known.timelines.sort_unstable();
        known.timelines.dedup();
    }

    fn find_holes(
        &self,
        known: &mut Known,
        timeline: TimelineId,
        inventory: &Inventory,
        coverage: &Coverage,
    ) {
        let folder = layout::timeline_folder(&self.name, timeline);
        let places = known.swept.names();
        let places = places.filter_map(|name| self.place_of(self.short(name)));
        let deleted = Deleted::of(places.filter_map(|place| match place {
            Place::Timeline(name) if name.timeline == timeline => Some(name.kind),
            _ => None,
        }));
        let gaps: Vec<_> = inventory
            .gaps
            .iter()
            .map(|gap| gap.record.clone())
            .collect();
        // What a base that cannot be read held of the history before it is not known; that base is named itself.
        let of_unknown_history = inventory
            .bases
            .iter()
            .filter(|base| !known.manifests.contains_key(&base.name))
            .map(|base| base.revision);
        let unknown_up_to = of_unknown_history.max().unwrap_or(Revision::ZERO);
        for hole in holes(coverage, &gaps, &deleted) {
            if hole.kind == "missing" && hole.first > unknown_up_to {
                known.find(
                    format!("{folder}: revisions {} to {}", hole.first, hole.last),
                    Wrong::Unexplained,
                    "nothing covers them, no gap is recorded, and retention has not deleted them"
                        .to_owned(),
                );
            }
        }
    }

    fn check_pins(&self, known: &mut Known, expected: &[(TimelineId, Coverage)]) {
        let now = Utc::now().timestamp_millis();
        for (name, pin) in known.pins.clone() {
            let coverage = expected.iter().find(|(id, _)| *id == pin.timeline);
            let holds = coverage.is_some_and(|(_, coverage)| coverage.contains(pin.revision));
            if pin.holds_at(now) && !holds {
                let reason = format!(
                    "it holds revision {} of timeline {}, which nothing covers",
                    pin.revision, pin.timeline
                );
                let path = layout::pin_path(&self.name, &name);
                known.find(path, Wrong::Contradiction, reason);
            }
        }
    }

    fn check_head(
        &self,
        known: &mut Known,
        head: &Head,
        expected: &[(TimelineId, Coverage)],
        ledger: &mut Ledger,
    ) {
        let path = layout::head_path(&self.name);
        let coverage = expected.iter().find(|(id, _)| *id == head.timeline);
        let newest = coverage.and_then(|(_, coverage)| coverage.newest());
        let newest = newest.unwrap_or_default();
        let recorded = known.gaps.iter().any(|(name, gap)| {
            name.timeline == head.timeline && (gap.first..=gap.last).contains(&newest.next())
        });
        if head.durable_revision > newest && !recorded {
            let reason = format!(
                "it says that revision {} of timeline {} is durable, and what is there leads to {newest}",
                head.durable_revision, head.timeline
            );
            known.find(path.clone(), Wrong::Contradiction, reason);
        }
        let base = known.of_timeline(head.timeline).any(|(name, _)| {
            matches!(name.kind, NameKind::Base { revision, .. } if revision == head.base_revision)
        });
        if head.base_revision > Revision::ZERO && !base {
            let reason = format!(
                "it names a base at revision {} of timeline {}, which is not there",
                head.base_revision, head.timeline
            );
            known.find(path.clone(), Wrong::Contradiction, reason);
        }
        let now = (head.timeline, head.durable_revision);
        if let Some((seen, heartbeat)) = ledger.head()
            && now < seen
            && head.heartbeat_unix_ms < heartbeat
        {
            let reason = format!(
                "it says revision {} of timeline {}; before, it said {} of {}",
                now.1, now.0, seen.1, seen.0
            );
            known.find(path, Wrong::Stale, reason);
        }
        ledger.saw_head(now, head.heartbeat_unix_ms);
    }

    /// The revisions that would be covered if all that was there were there and sound.
    pub(super) fn lost(&self, known: &Known) -> Vec<Lost> {
        let mut lost = Vec::new();
        let missing = known.missing.iter();
        let missing: HashSet<_> = missing.filter_map(|place| self.name_of(place)).collect();
        let is_usable = |name: &str| !missing.contains(name) && !known.is_unsound(name);
        for timeline in known.timelines.iter().copied() {
            let expected = Coverage::compute(&known.inventory(timeline, |_| true));
            let sound = known.inventory(timeline, |path| {
                let chunks = known.manifests.get(path);
                let mut chunks = chunks.iter().flat_map(|base| &base.chunks);
                let chunk = |chunk: &ChunkRef| layout::chunk_path(&self.name, chunk.into());
                is_usable(path) && chunks.all(|it| is_usable(&chunk(it)))
            });
            let sound = Coverage::compute(&sound);
            for (first, last) in without(&expected.ranges, &sound.ranges) {
                lost.push(Lost {
                    timeline,
                    first,
                    last,
                });
            }
        }
        lost
    }

    /// What a name in the cluster's folder asks for.
    fn place_of(&self, short: &str) -> Option<Place> {
        let objects = &self.vault.objects;
        let path = objects.path(&format!("clusters/{}/{short}", self.name));
        let chunks = objects.path(&layout::chunks_folder(&self.name));
        if let Some(chunk) = layout::parse_chunk(&chunks, &path) {
            return Some(Place::Chunk(chunk));
        }
        if let Some((number, part)) = Rounds(self).parse(&path) {
            return Some(Place::Round(number, part));
        }
        let (folder, rest) = short.split_once('/')?;
        let timeline: TimelineId = folder.parse().ok()?;
        let record = self.timeline_name(timeline);
        if rest == "timeline" {
            return Some(Place::Timeline(record));
        }
        let folder = objects.path(&layout::timeline_folder(&self.name, timeline));
        let kind = layout::parse(&folder, &path)?;
        Some(Place::Timeline(ObjectName { kind, ..record }))
    }
}

/// The parts of closed ranges that others do not have; both ascending and disjoint.
fn without(
    ranges: &[(Revision, Revision)],
    others: &[(Revision, Revision)],
) -> Vec<(Revision, Revision)> {
    let mut left = Vec::new();
    for (mut first, last) in ranges.iter().copied() {
        for other in others {
            if other.1 < first || other.0 > last {
                continue;
            }
            if first < other.0 {
                left.push((first, other.0.previous()));
            }
            first = first.max(other.1.next());
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_ranges() {
        let ranges = |pairs: &[(i64, i64)]| -> Vec<_> {
            pairs
                .iter()
                .map(|(a, b)| (Revision(*a), Revision(*b)))
                .collect()
        };
        for (all, others, left) in [
            (&[(1, 9)][..], &[][..], &[(1, 9)][..]),
            (&[(1, 9)], &[(1, 9)], &[]),
            (&[(1, 9)], &[(3, 4), (6, 6)], &[(1, 2), (5, 5), (7, 9)]),
            (&[(1, 3), (7, 9)], &[(2, 8)], &[(1, 1), (9, 9)]),
            (&[(4, 5)], &[(1, 2), (8, 9)], &[(4, 5)]),
        ] {
            assert_eq!(without(&ranges(all), &ranges(others)), ranges(left));
        }
    }
}
