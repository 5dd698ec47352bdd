//! `revkeep verify`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use revkeep_schemas::Revision;
use revkeep_vault::verify::{Depth, Ledger, Verification, VerifyOptions};
use revkeep_vault::{Cluster, ProofKind, Receipt, TimelineId, Vault, size};
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
  revkeep verify --period 30d --max-bytes 20GiB -w json    # by cron: new bytes at once, each byte once in 30 days

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
    let mut clusters = Vec::new();
    for name in &arguments.clusters {
        clusters.push(find_cluster(&opened, &checked(name)?).await?);
    }
    if clusters.is_empty() {
        let all = opened.clusters().await?;
        clusters = all.iter().map(|name| opened.cluster(name)).collect();
    }
    let mut verified = Verified {
        clusters: Vec::new(),
    };
    let mut failed = None;
    let mut ledgers = Vec::new();
    let cancelled = signals::cancellation();
    for cluster in clusters {
        let mut ledger = Ledger::open(&folder, vault, cluster.vault().id(), cluster.name())?;
        let verifying = verify(&cluster, arguments, &mut ledger, &cancelled, &mut verified);
        failed = Box::pin(verifying).await.err();
        ledgers.push(ledger);
        if failed.is_some() {
            break;
        }
    }
    let wrong: usize = verified.clusters.iter().map(ClusterVerified::wrong).sum();
    answer(&verified, output)?;
    // After it was told: what is accepted is told once. What was read counts, however it ended.
    for ledger in &ledgers {
        ledger.save()?;
    }
    match failed {
        Some(error) if wrong == 0 => Err(error),
        None if wrong == 0 => Ok(()),
        failed => {
            let also = failed.map(|error| format!("; and not all was verified: {error}"));
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

async fn verify(
    cluster: &Cluster,
    arguments: &Arguments,
    ledger: &mut Ledger,
    cancelled: &watch::Receiver<bool>,
    verified: &mut Verified,
) -> Result<(), RestoreError> {
    let started = Instant::now();
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
    let objects = tokio::select! {
        done = cluster.verify(&options, ledger, &shown) => done?,
        Ok(_) = stop.wait_for(|cancelled| *cancelled) => {
            return Err(RestoreError::new(
                Kind::Interrupted,
                "interrupted; what was read is noted, and --period leaves it out",
            ));
        }
    };
    let unsound: BTreeSet<_> = objects
        .findings
        .iter()
        .map(|it| it.object.clone())
        .collect();
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
            one.deep = Some(Box::pin(deep(cluster, &unsound, cancelled, progress)).await?);
            one.seconds = started.elapsed().as_secs_f64();
        }
        if arguments.receipt {
            one.receipt = Some(cluster.put_receipt(&receipt(&one)).await?.name);
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

fn receipt(verified: &ClusterVerified) -> Receipt {
    let wrong = verified.wrong();
    let depth = match &verified.deep {
        Some(deep) => format!(
            ", {} rows were replayed and give {} HashKV of the source",
            deep.rows, deep.hashes
        ),
        None => String::new(),
    };
    Receipt {
        kind: ProofKind::Verification,
        sound: wrong == 0,
        summary: format!(
            "{} of {} objects were read, {wrong} things are wrong{depth}",
            verified.objects.read_objects, verified.objects.objects
        ),
        ended_unix_ms: Utc::now().timestamp_millis(),
        took_ms: place::milliseconds(verified.seconds),
        timeline: TimelineId(0),
        revision: Revision::ZERO,
        compact_revision: Revision::ZERO,
        hash: 0,
        server: String::new(),
        objects: verified.objects.read_objects,
        bytes: verified.objects.read_bytes,
        findings: wrong as u64,
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
