//! `revkeep verify`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use revkeep_vault::verify::{Depth, Ledger, Replayed, Verification, VerifyOptions};
use revkeep_vault::{Cluster, ClusterName, Vault, size};
use serde::Serialize;
use tokio::sync::watch;

use super::{Output, answer, place, signals};
use crate::error::{Kind, RestoreError};
use crate::point::duration;
use crate::source::{checked, find_cluster};
use crate::verify::{Deep, deep};

/// What `revkeep verify` takes.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(after_help = "Examples:
  revkeep verify --vault s3://backups/etcd
  revkeep verify prod --deep
  revkeep verify --period 30d --max-bytes 20GiB -w json    # by cron: new bytes at once, the others in turn

It ends with 13 when anything is wrong.")]
pub(super) struct Arguments {
    /// The clusters' names in the vault; by default all
    clusters: Vec<String>,
    /// Read names, sizes and small objects alone: segments and chunks have to be there
    #[arg(long, conflicts_with_all = ["deep", "period", "max_bytes"])]
    quick: bool,
    /// Replay every base and segment as well, and compare with every HashKV that the source reported
    #[arg(long)]
    deep: bool,
    /// Leave out what was read within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_period)]
    period: Option<Duration>,
    /// Read at most so much of each cluster: first what is new, then what was not read for longest
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_bytes: Option<u64>,
    /// What is missing is told this once, and is allowed for from then on
    #[arg(long)]
    accept_missing: bool,
    /// Where it is kept what was seen and when it was read; by default below the user's state folder
    #[arg(long, env = "REVKEEP_LEDGER", value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Store a receipt in the vault
    #[arg(long)]
    receipt: bool,
}

fn parse_period(words: &str) -> Result<Duration, String> {
    duration(words).map_err(|error| error.to_string())
}

/// All that was verified.
#[derive(Debug, Serialize)]
struct Verified {
    clusters: Vec<ClusterVerified>,
}

#[derive(Debug, Serialize)]
struct ClusterVerified {
    #[serde(flatten)]
    objects: Verification,
    #[serde(skip_serializing_if = "Option::is_none")]
    deep: Option<Deep>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
}

impl ClusterVerified {
    fn wrong(&self) -> usize {
        let deep = self.deep.as_ref().map_or(0, |deep| deep.findings.len());
        self.objects.findings.len() + deep
    }
}

/// Verifies, and fails when anything is wrong. What was found is told, whatever fails after it.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let folder = place::state_folder(arguments.ledger.clone(), "ledger")?;
    let opened = Vault::open(vault).await?;
    let known = Ledger::clusters(&folder, &opened);
    let clusters = chosen(
        &opened,
        arguments,
        known.as_ref().map_or(&[][..], Vec::as_slice),
    )
    .await?;
    let mut verified = Verified {
        clusters: Vec::new(),
    };
    // What fails is told at the end: what is wrong in the vault weighs more.
    let mut failed = known.err().map(RestoreError::from);
    let mut ledgers = Vec::new();
    let cancelled = signals::cancellation();
    for cluster in clusters {
        let verifying = verify(
            &cluster,
            arguments,
            &folder,
            &cancelled,
            &mut verified,
            &mut ledgers,
        );
        if let Err(error) = Box::pin(verifying).await {
            let interrupted = error.kind() == Kind::Interrupted;
            tracing::warn!(cluster = %cluster.name(), %error, "a cluster could not be verified");
            failed.get_or_insert(error);
            if interrupted {
                break;
            }
        }
    }
    let wrong: usize = verified.clusters.iter().map(ClusterVerified::wrong).sum();
    answer(&verified, output)?;
    // After it was told: what is accepted is told once. What was read counts, however it ended.
    for ledger in &ledgers {
        if let Err(error) = ledger.save() {
            failed.get_or_insert(error.into());
        }
    }
    match failed {
        Some(error) if wrong == 0 => Err(error),
        None if wrong == 0 => Ok(()),
        failed => {
            let also = failed.map(|error| format!("; and not all went well: {error}"));
            Err(RestoreError::new(
                Kind::Verification,
                format!(
                    "{wrong} things are wrong, named above: restore damaged objects from a copy, or take a new base{}",
                    also.unwrap_or_default()
                ),
            ))
        }
    }
}

/// The clusters that were named; by default all, also those that are gone and of which `known` ledgers tell.
async fn chosen(
    vault: &Vault,
    arguments: &Arguments,
    known: &[ClusterName],
) -> Result<Vec<Cluster>, RestoreError> {
    let mut clusters = Vec::new();
    for name in &arguments.clusters {
        let name = checked(name)?;
        clusters.push(if known.contains(&name) {
            vault.cluster(&name)
        } else {
            find_cluster(vault, &name).await?
        });
    }
    if arguments.clusters.is_empty() {
        let mut all = vault.clusters().await?;
        all.extend_from_slice(known);
        all.sort_unstable();
        all.dedup();
        clusters = all.iter().map(|name| vault.cluster(name)).collect();
    }
    Ok(clusters)
}

async fn verify(
    cluster: &Cluster,
    arguments: &Arguments,
    folder: &Path,
    cancelled: &watch::Receiver<bool>,
    verified: &mut Verified,
    ledgers: &mut Vec<Ledger>,
) -> Result<(), RestoreError> {
    let started = Instant::now();
    let mut ledger = Ledger::open(folder, cluster.vault(), cluster.name())?;
    let options = VerifyOptions {
        depth: if arguments.quick {
            Depth::Listed
        } else {
            Depth::Bytes
        },
        period: arguments.period.unwrap_or_default(),
        max_bytes: arguments.max_bytes.unwrap_or(u64::MAX),
        accept_missing: arguments.accept_missing,
        ..VerifyOptions::default()
    };
    let bar = Arc::new(bar(cluster));
    let shown = |bytes| bar.inc(bytes);
    let mut stop = cancelled.clone();
    let verified_now = tokio::select! {
        done = cluster.verify(&options, &mut ledger, &shown) => done.map_err(RestoreError::from),
        Ok(_) = stop.wait_for(|cancelled| *cancelled) => Err(RestoreError::new(
            Kind::Interrupted,
            "interrupted; what was read is noted, and --period leaves it out",
        )),
    };
    ledgers.push(ledger);
    let objects = verified_now?;
    let unusable: BTreeSet<_> = objects.unusable().map(str::to_owned).collect();
    let mut one = ClusterVerified {
        objects,
        deep: None,
        seconds: started.elapsed().as_secs_f64(),
        receipt: None,
    };
    let finishing = async {
        if arguments.deep {
            let shown = bar.clone();
            let progress = Arc::new(move |bytes| shown.inc(bytes));
            one.deep = Some(Box::pin(deep(cluster, &unusable, cancelled, progress)).await?);
            one.seconds = started.elapsed().as_secs_f64();
        }
        if arguments.receipt && one.objects.is_anything_there() {
            let replayed = one.deep.as_ref().map(|deep| Replayed {
                rows: deep.rows,
                hashes: deep.hashes,
                findings: deep.findings.len() as u64,
            });
            let receipt = one.objects.receipt(started.elapsed(), replayed);
            one.receipt = Some(cluster.put_receipt(&receipt).await?.name);
        }
        Ok(())
    };
    let finished = finishing.await;
    bar.finish_and_clear();
    verified.clusters.push(one);
    finished
}

/// What is read, on standard error, where that is a terminal.
fn bar(cluster: &Cluster) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(cluster.name().to_string());
    match ProgressStyle::with_template("{elapsed_precise} {msg}: {bytes} read, {bytes_per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.clusters.is_empty() {
            return writeln!(f, "the vault has no cluster yet");
        }
        self.clusters.iter().try_for_each(|cluster| cluster.fmt(f))
    }
}

impl fmt::Display for ClusterVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = &self.objects;
        let outcome = match self.wrong() {
            0 => "sound".to_owned(),
            1 => "1 thing is wrong".to_owned(),
            wrong => format!("{wrong} things are wrong"),
        };
        writeln!(f, "cluster   {}: {outcome}", objects.cluster)?;
        writeln!(
            f,
            "  there     {} objects, {}: {} bases, {} chunks, {} segments",
            objects.objects,
            crate::report::size(objects.bytes),
            objects.bases,
            objects.chunks,
            objects.segments
        )?;
        writeln!(
            f,
            "  read      {} objects, {}, in {:.1} s",
            objects.read_objects,
            crate::report::size(objects.read_bytes),
            self.seconds
        )?;
        if let Some(receipt) = &self.receipt {
            writeln!(f, "  receipt   {receipt}")?;
        }
        if objects.left > 0 {
            writeln!(
                f,
                "  left      {} objects are due and were not read",
                objects.left
            )?;
        }
        if objects.depth == Depth::Listed {
            writeln!(f, "  depth     segments and chunks were listed, not read")?;
        }
        if !objects.accepted.is_empty() {
            writeln!(
                f,
                "  accepted  {} objects are missing, which was accepted",
                objects.accepted.len()
            )?;
        }
        if objects.unused_chunks > 0 {
            writeln!(
                f,
                "  unused    {} chunks are of no base",
                objects.unused_chunks
            )?;
        }
        if let Some(deep) = &self.deep {
            writeln!(
                f,
                "  replayed  {} bases and {} stretches of segments, {} rows; {} HashKV of the source are equal",
                deep.bases, deep.stretches, deep.rows, deep.hashes
            )?;
        }
        for finding in &objects.findings {
            writeln!(f, "  {:?}  {}", finding.wrong, finding.object)?;
            writeln!(f, "            {}", finding.reason)?;
        }
        for finding in self.deep.iter().flat_map(|deep| &deep.findings) {
            writeln!(
                f,
                "  Contradiction  timeline {}, base {} to revision {}",
                finding.timeline, finding.base, finding.revision
            )?;
            writeln!(f, "            {}", finding.reason)?;
        }
        for lost in &objects.lost {
            writeln!(
                f,
                "  lost      revisions {} to {} of timeline {} cannot be brought back",
                lost.first, lost.last, lost.timeline
            )?;
        }
        Ok(())
    }
}
