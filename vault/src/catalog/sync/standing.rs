//! What is known of a cluster without a catalog, from the vault alone.

use revkeep_schemas::manifest::ProofKind;

use super::super::query::ClusterFacts;
use super::holes::{Deleted, holes};
use super::known::place;
use super::summary::say_unsound;
use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::error::{ErrorKind, VaultError};
use crate::retention::{Part, Rounds};
use crate::timeline::Timeline;

/// Drills that are looked at for one that went well.
const PROOFS: usize = 8;

impl ClusterFacts {
    /// Reads the head, and of the newest timeline names, manifests and gaps. What fails is told in `error`.
    pub async fn of(cluster: &Cluster) -> Self {
        let mut facts = Self {
            cluster: cluster.name.to_string(),
            ..Self::default()
        };
        if let Err(error) = facts.read(cluster).await {
            facts.error = Some(error.to_string());
        }
        facts
    }

    async fn read(&mut self, cluster: &Cluster) -> Result<(), VaultError> {
        match cluster.head().await {
            Ok(head) => {
                self.heartbeat_ms = head.as_ref().map(|head| head.heartbeat_unix_ms);
                self.source_revision = head.map(|head| head.source_revision);
            }
            Err(error) if error.is_damage() => self.damaged += 1,
            Err(error) => return Err(error),
        }
        let Some(timeline) = cluster.newest_timeline().await? else {
            return Ok(());
        };
        self.timeline = Some(timeline.id().to_string());
        let inventory = timeline.inventory().await?;
        let coverage = Coverage::compute(&inventory);
        self.minimum = coverage.oldest();
        self.maximum = coverage.newest();
        self.base_revision = inventory.bases.last().map(|base| base.revision);
        self.damaged += inventory.damaged.len() as u64;
        if let Some(maximum) = self.maximum {
            let base = inventory.bases.last();
            self.maximum_seen_ms = base.map(|base| base.manifest.facts.finished_unix_ms);
            let mut segments = inventory.segments.iter().rev();
            let entry = segments.find(|entry| entry.first <= maximum && maximum <= entry.last);
            // A base's own time is that of its newest revision.
            let mut seen = self.maximum_seen_ms;
            if let Some(entry) = entry {
                seen = match timeline.segment_index(entry).await {
                    Ok(index) => index.time_of(maximum),
                    Err(error) if error.is_damage() => {
                        self.damaged += 1;
                        None
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                };
                self.maximum_seen_ms = seen.or(self.maximum_seen_ms);
            }
            // What the source has beyond came later than this; how much later, one head does not tell.
            if self.source_revision > self.maximum {
                self.behind_since_ms = seen;
            }
        }
        let mut newest = cluster.receipts(ProofKind::Verification, 1).await?;
        let drills = cluster.receipts(ProofKind::Drill, PROOFS).await?;
        newest.extend(drills.first().cloned());
        for (_, receipt) in newest.iter().filter(|(_, receipt)| !receipt.sound) {
            say_unsound(&mut self.unsound, receipt.kind, &receipt.summary);
        }
        let proven = drills
            .into_iter()
            .map(|(_, drill)| drill)
            .find(|drill| drill.sound);
        self.proven_revision = proven.as_ref().map(|drill| drill.revision);
        self.proven_ms = proven.map(|drill| drill.ended_unix_ms);
        let deleted = deleted(&timeline).await?;
        let gaps: Vec<_> = inventory.gaps.into_iter().map(|gap| gap.record).collect();
        for hole in holes(&coverage, &gaps, &deleted) {
            if self.minimum.is_none_or(|minimum| hole.first < minimum) {
                continue;
            }
            let revisions = hole.last.0.abs_diff(hole.first.0) + 1;
            match hole.kind {
                "thinned" => self.thinned += revisions,
                "lost" => self.lost += revisions,
                _ => self.missing += revisions,
            }
        }
        Ok(())
    }
}

/// What retention has deleted of a timeline.
async fn deleted(timeline: &Timeline) -> Result<Deleted, VaultError> {
    let rounds = Rounds(&timeline.cluster);
    let mut names = Vec::new();
    for round in rounds.list().await? {
        if round.stored(Part::Sweep).is_none() {
            continue;
        }
        let row = match rounds.objects(round.number, Part::Sweep).await {
            Ok(list) => list.unwrap_or_default(),
            // Then what it deleted is called missing.
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error),
        };
        let listed = row.bases.iter().chain(&row.segments);
        names.extend(listed.filter_map(|name| place(&timeline.cluster.name, name)));
    }
    let own = names.into_iter().filter(|(id, _)| *id == timeline.id);
    Ok(Deleted::of(own.map(|(_, kind)| kind)))
}
