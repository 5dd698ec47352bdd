//! `revkeep info`.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use revkeep_schemas::Revision;
use revkeep_vault::{Cluster, Coverage, Inventory, ProofKind, Timeline, Vault};
use serde::Serialize;

use super::{Output, answer};
use crate::error::RestoreError;
use crate::report::size;
use crate::source::{open_cluster, promised};
use crate::survey::is_lost;

/// The newest bases of a timeline that a table shows.
const SHOWN_BASES: usize = 10;

/// What `revkeep info` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep info prod --vault s3://backups/etcd
  revkeep info --vault s3://backups/etcd
  revkeep info prod -w json | jq .maximum_recoverable
  REVKEEP_VAULT=file:///var/backups/etcd revkeep info prod")]
pub(super) struct Arguments {
    /// The cluster's name in the vault; without one all clusters are listed
    cluster: Option<String>,
}

/// All clusters of a vault.
#[derive(Debug, Serialize)]
struct Clusters {
    clusters: Vec<ClusterInfo>,
}

/// A cluster and what can be recovered of its newest timeline.
#[derive(Debug, Serialize)]
struct ClusterInfo {
    cluster: String,
    timeline: Option<String>,
    minimum_recoverable: Option<Revision>,
    maximum_recoverable: Option<Revision>,
    /// When an agent saw the newest recovery point, by its clock.
    maximum_seen: Option<String>,
    /// Why nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What the vault holds of a cluster.
#[derive(Debug, Serialize)]
struct Info {
    cluster: String,
    /// The newest timeline, which the two revisions below are of.
    timeline: Option<String>,
    /// The oldest recovery point of the newest timeline.
    minimum_recoverable: Option<Revision>,
    /// The newest recovery point of the newest timeline.
    maximum_recoverable: Option<Revision>,
    /// When an agent saw it, by its clock.
    maximum_seen: Option<String>,
    /// The newest verification and the newest drill of which there is a receipt.
    proofs: Vec<ProofInfo>,
    timelines: Vec<TimelineInfo>,
    /// Records of timelines that cannot be read: nothing else is known of these.
    damaged: Vec<DamageInfo>,
}

#[derive(Debug, Serialize)]
struct ProofInfo {
    kind: &'static str,
    sound: bool,
    ended: Option<String>,
    summary: String,
    receipt: String,
}

#[derive(Debug, Serialize)]
struct TimelineInfo {
    id: String,
    parent: Option<String>,
    /// The highest revision that it shares with its parent.
    fork_revision: Option<Revision>,
    /// Whether that is only a bound: the source had compacted the place where the two part.
    fork_at_most: bool,
    /// In hexadecimal, as etcdctl prints it.
    source_cluster_id: String,
    etcd_version: String,
    first_seen: Option<String>,
    minimum_recoverable: Option<Revision>,
    maximum_recoverable: Option<Revision>,
    /// When an agent saw the newest recovery point, by its clock.
    maximum_seen: Option<String>,
    coverage: Vec<RangeInfo>,
    gaps: Vec<GapInfo>,
    bases: Vec<BaseInfo>,
    segments: usize,
    segment_bytes: u64,
    damaged: Vec<DamageInfo>,
}

#[derive(Debug, Serialize)]
struct RangeInfo {
    first: Revision,
    last: Revision,
}

#[derive(Debug, Serialize)]
struct GapInfo {
    first: Revision,
    last: Revision,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct BaseInfo {
    revision: Revision,
    compact_revision: Revision,
    finished: Option<String>,
    rows: u64,
    plain_bytes: u64,
    stored_bytes: u64,
    chunks: usize,
    /// HashKV as the source reported it, for restores to be compared with.
    checkpoint_revision: Option<Revision>,
}

#[derive(Debug, Serialize)]
struct DamageInfo {
    name: String,
    reason: String,
}

/// Shows what can be recovered.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let Some(name) = &arguments.cluster else {
        return answer(&list(vault).await?, output);
    };
    let cluster = open_cluster(vault, name).await?;
    let mut timelines = Vec::new();
    let mut damaged = Vec::new();
    // That of the newest timeline, which is the one that is asked about.
    let mut lost = None;
    for id in cluster.timeline_ids().await? {
        let timeline = match cluster.born(id).await {
            Ok(None) => continue,
            Ok(Some(timeline)) => timeline,
            // One that is damaged must not hide the others.
            Err(error) if is_lost(&error) => {
                damaged.push(DamageInfo {
                    name: format!("clusters/{name}/{id}/timeline"),
                    reason: error.to_string(),
                });
                lost = Some(promised(error));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let inventory = timeline.inventory().await?;
        let mut described = describe(&timeline, &inventory);
        described.maximum_seen = newest_seen(&timeline, &inventory).await;
        timelines.push(described);
        lost = None;
    }
    let newest = timelines.last().filter(|_| lost.is_none());
    let info = Info {
        cluster: name.clone(),
        timeline: newest.map(|timeline| timeline.id.clone()),
        minimum_recoverable: newest.and_then(|timeline| timeline.minimum_recoverable),
        maximum_recoverable: newest.and_then(|timeline| timeline.maximum_recoverable),
        maximum_seen: newest.and_then(|timeline| timeline.maximum_seen.clone()),
        proofs: proofs(&cluster).await?,
        timelines,
        damaged,
    };
    answer(&info, output)?;
    lost.map_or(Ok(()), Err)
}

/// What was proved last.
async fn proofs(cluster: &Cluster) -> Result<Vec<ProofInfo>, RestoreError> {
    let mut proofs = Vec::new();
    for kind in [ProofKind::Verification, ProofKind::Drill] {
        for (receipt, said) in cluster.receipts(kind, 1).await? {
            proofs.push(ProofInfo {
                kind: kind.name(),
                sound: said.sound,
                ended: time(said.ended_unix_ms),
                summary: said.summary,
                receipt,
            });
        }
    }
    Ok(proofs)
}

async fn list(vault: &str) -> Result<Clusters, RestoreError> {
    let vault = Vault::open(vault).await?;
    let mut clusters = Vec::new();
    for name in vault.clusters().await? {
        let mut line = ClusterInfo {
            cluster: name.to_string(),
            timeline: None,
            minimum_recoverable: None,
            maximum_recoverable: None,
            maximum_seen: None,
            error: None,
        };
        // One that is damaged must not hide the others.
        if let Err(error) = look(&vault.cluster(&name), &mut line).await {
            line.error = Some(error.to_string());
        }
        clusters.push(line);
    }
    Ok(Clusters { clusters })
}

async fn look(cluster: &Cluster, line: &mut ClusterInfo) -> Result<(), RestoreError> {
    let Some(timeline) = cluster.newest_timeline().await? else {
        return Ok(());
    };
    let inventory = timeline.inventory().await?;
    let coverage = Coverage::compute(&inventory);
    line.timeline = Some(timeline.id().to_string());
    line.minimum_recoverable = coverage.oldest();
    line.maximum_recoverable = coverage.newest();
    line.maximum_seen = newest_seen(&timeline, &inventory).await;
    Ok(())
}

fn describe(timeline: &Timeline, inventory: &Inventory) -> TimelineInfo {
    let coverage = Coverage::compute(inventory);
    let record = timeline.record();
    let bases = inventory.bases.iter().map(|base| BaseInfo {
        revision: base.revision,
        compact_revision: base.compact_revision,
        finished: time(base.manifest.facts.finished_unix_ms),
        rows: base.manifest.rows,
        plain_bytes: base.manifest.plain_bytes,
        stored_bytes: base.manifest.stored_bytes,
        chunks: base.manifest.chunks.len(),
        checkpoint_revision: base.manifest.facts.checkpoint.map(|known| known.revision),
    });
    let gaps = coverage.gaps.iter().map(|gap| GapInfo {
        first: gap.first,
        last: gap.last,
        reason: gap.reason.clone(),
    });
    let ranges = coverage.ranges.iter().map(|range| RangeInfo {
        first: range.0,
        last: range.1,
    });
    let damaged = inventory.damaged.iter().map(|damage| DamageInfo {
        name: damage.name.clone(),
        reason: damage.reason.clone(),
    });
    TimelineInfo {
        id: timeline.id().to_string(),
        parent: record.parent.map(|(id, _)| id.to_string()),
        fork_revision: record.parent.map(|(_, fork)| fork),
        fork_at_most: record.fork_at_most,
        source_cluster_id: format!("{:x}", record.source.cluster_id),
        etcd_version: record.source.etcd_version.clone(),
        first_seen: time(record.source.first_seen_unix_ms),
        minimum_recoverable: coverage.oldest(),
        maximum_recoverable: coverage.newest(),
        maximum_seen: None,
        coverage: ranges.collect(),
        gaps: gaps.collect(),
        bases: bases.collect(),
        segments: inventory.segments.len(),
        segment_bytes: inventory.segments.iter().map(|segment| segment.bytes).sum(),
        damaged: damaged.collect(),
    }
}

/// When the newest recovery point was seen: as its segment says, or else its base. Best effort.
async fn newest_seen(timeline: &Timeline, inventory: &Inventory) -> Option<String> {
    let newest = Coverage::compute(inventory).newest()?;
    let mut segments = inventory.segments.iter().rev();
    if let Some(entry) = segments.find(|entry| entry.first <= newest && newest <= entry.last) {
        let index = timeline.segment_index(entry).await.ok()?;
        return time(index.time_of(newest)?);
    }
    let base = inventory
        .bases
        .iter()
        .find(|base| base.revision == newest)?;
    time(base.manifest.facts.finished_unix_ms)
}

fn time(unix_ms: i64) -> Option<String> {
    if unix_ms <= 0 {
        return None;
    }
    DateTime::from_timestamp_millis(unix_ms)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

impl fmt::Display for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.clusters.is_empty() {
            return writeln!(f, "the vault has no cluster yet");
        }
        self.clusters
            .iter()
            .try_for_each(|cluster| write!(f, "{cluster}"))
    }
}

impl fmt::Display for ClusterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20} ", self.cluster)?;
        match (
            &self.error,
            self.minimum_recoverable,
            self.maximum_recoverable,
        ) {
            (Some(error), ..) => write!(f, "{error}")?,
            (None, Some(minimum), Some(maximum)) => write!(f, "{minimum} to {maximum}")?,
            _ => write!(f, "nothing to recover yet")?,
        }
        if let Some(seen) = &self.maximum_seen {
            write!(f, ", seen ≈ {seen}")?;
        }
        writeln!(f)
    }
}

impl Info {
    fn parent(&self, timeline: &TimelineInfo) -> Option<&TimelineInfo> {
        let id = timeline.parent.as_ref()?;
        // A damaged record could name itself.
        let earlier = |one: &&TimelineInfo| one.id == *id && one.id < timeline.id;
        self.timelines.iter().find(earlier)
    }

    /// A timeline and what comes of it, as a tree.
    fn branch(
        &self,
        f: &mut fmt::Formatter<'_>,
        timeline: &TimelineInfo,
        before: &str,
        indent: &str,
    ) -> fmt::Result {
        write!(f, "{before}{}", timeline.id)?;
        match (timeline.fork_revision, timeline.fork_at_most) {
            (None, _) => {}
            (Some(Revision::ZERO), _) => write!(f, " shares nothing")?,
            (Some(fork), false) => write!(f, " from {fork}")?,
            (Some(fork), true) => write!(f, " from {fork} at most")?,
        }
        if let Some(newest) = timeline.maximum_recoverable {
            write!(f, " to {newest}")?;
        }
        if self.timeline.as_ref() == Some(&timeline.id) {
            write!(f, ", the newest")?;
        }
        writeln!(f)?;
        let children = self.timelines.iter().filter(|one| {
            self.parent(one)
                .is_some_and(|parent| parent.id == timeline.id)
        });
        let children: Vec<_> = children.collect();
        let last = children.len().saturating_sub(1);
        for (at, child) in children.into_iter().enumerate() {
            let (mark, below) = if at == last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            self.branch(
                f,
                child,
                &format!("{indent}{mark}"),
                &format!("{indent}{below}"),
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster              {}", self.cluster)?;
        let shown = |revision: Option<Revision>| match revision {
            Some(revision) => revision.to_string(),
            None if self.timeline.is_none() && !self.damaged.is_empty() => "unknown".to_owned(),
            None => "none yet".to_owned(),
        };
        let (minimum, maximum) = (self.minimum_recoverable, self.maximum_recoverable);
        writeln!(f, "minimum recoverable  {}", shown(minimum))?;
        write!(f, "maximum recoverable  {}", shown(maximum))?;
        if let Some(seen) = &self.maximum_seen {
            write!(f, ", seen ≈ {seen}")?;
        }
        writeln!(f)?;
        for proof in &self.proofs {
            let outcome = if proof.sound { "proven" } else { "FAILED" };
            let ended = proof.ended.as_deref().unwrap_or("some day");
            writeln!(
                f,
                "{:<20} {outcome} ≈ {ended}: {}",
                format!("last {}", proof.kind),
                proof.summary
            )?;
        }
        for damage in &self.damaged {
            writeln!(f, "damaged              {}", damage.reason)?;
        }
        if self.timelines.len() > 1 {
            writeln!(f, "\ntimelines")?;
            let roots = self
                .timelines
                .iter()
                .filter(|one| self.parent(one).is_none());
            let roots: Vec<_> = roots.collect();
            for root in roots {
                self.branch(f, root, "", "")?;
            }
        }
        self.timelines
            .iter()
            .try_for_each(|timeline| write!(f, "\n{timeline}"))
    }
}

impl fmt::Display for TimelineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "timeline {}: cluster {}, etcd {}",
            self.id, self.source_cluster_id, self.etcd_version
        )?;
        if let Some(seen) = &self.first_seen {
            write!(f, ", first seen ≈ {seen}")?;
        }
        writeln!(f)?;
        if let (Some(parent), Some(fork)) = (&self.parent, self.fork_revision) {
            let how = if self.fork_at_most { "at most " } else { "" };
            match fork {
                Revision::ZERO => writeln!(f, "  follows   {parent}, and shares nothing with it")?,
                _ => writeln!(f, "  shares    revisions up to {how}{fork} with {parent}")?,
            }
        }
        for range in &self.coverage {
            writeln!(f, "  covers    {} to {}", range.first, range.last)?;
        }
        for gap in &self.gaps {
            let reason = gap.reason.as_deref().unwrap_or("no reason recorded");
            writeln!(f, "  gap       {} to {}: {reason}", gap.first, gap.last)?;
        }
        let older = self.bases.len().saturating_sub(SHOWN_BASES);
        if older > 0 {
            writeln!(
                f,
                "  base      … and {older} older ones, which -w json lists"
            )?;
        }
        for base in self.bases.iter().skip(older) {
            let finished = base.finished.as_deref().unwrap_or("unknown");
            writeln!(
                f,
                "  base      {} (compacted at {}), {} rows, {} stored, ≈ {finished}{}",
                base.revision,
                base.compact_revision,
                base.rows,
                size(base.stored_bytes),
                if base.checkpoint_revision.is_some() {
                    ", HashKV known"
                } else {
                    ""
                }
            )?;
        }
        writeln!(
            f,
            "  segments  {}, {}",
            self.segments,
            size(self.segment_bytes)
        )?;
        self.damaged
            .iter()
            .try_for_each(|damage| writeln!(f, "  damaged   {}: {}", damage.name, damage.reason))
    }
}
