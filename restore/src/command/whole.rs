//! Restores of whole clusters, whichever command asks for one.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use revkeep_schemas::Revision;

use super::finish::FinishArguments;
use super::{Output, answer, signals};
use crate::error::{Kind, RestoreError};
use crate::execute::{Destination, execute};
use crate::overlap::Overlaps;
use crate::plan::{History, Target};
use crate::point::{Resolved, Wanted, describe, resolve};
use crate::prepare::{Prepared, Request, prepare};
use crate::report::DryRun;
use crate::source::{Source, open_cluster};
use crate::target::refuse_unless_free;

/// How much is kept, and how much is compared.
#[derive(Debug, Args)]
pub(super) struct DepthArguments {
    /// Keep all history that the vault has, not only what the source still had
    #[arg(long)]
    keep_history: bool,
    /// Keep no history: of each key what lived at that revision
    #[arg(long, conflicts_with = "keep_history")]
    compact_all: bool,
    /// Compare all segments that overlap, row by row where their indexes do not tell; by default only where it costs little
    #[arg(long)]
    verify_overlaps: bool,
}

impl DepthArguments {
    const fn request(&self, target: Target) -> Request {
        Request {
            target,
            history: if self.keep_history {
                History::Everything
            } else if self.compact_all {
                History::CompactedAt(Revision::MAX)
            } else {
                History::AsSource
            },
            overlaps: if self.verify_overlaps {
                Overlaps::All
            } else {
                Overlaps::Small
            },
        }
    }
}

/// A restore of a whole cluster.
pub(super) struct Whole<'a> {
    /// The vault's URL.
    pub(super) vault: &'a str,
    /// The cluster.
    pub(super) cluster: &'a str,
    /// The timeline, or the newest.
    pub(super) timeline: Option<&'a str>,
    /// The point in history.
    pub(super) wanted: &'a Wanted,
    /// Where the result goes; without one there is a plan alone.
    pub(super) destination: Option<Destination>,
    /// How much is kept, and how much is compared.
    pub(super) depth: &'a DepthArguments,
    /// What becomes of it.
    pub(super) finish: &'a FinishArguments,
    /// Whether the plan is all that is wanted.
    pub(super) dry_run: bool,
}

impl Whole<'_> {
    /// Restores, or prints the plan.
    pub(super) async fn run(self, output: Output) -> Result<(), RestoreError> {
        // What cannot be meant is told before anything is fetched.
        self.finish.wish()?;
        self.refuse_unless_free()?;
        let mut cancelled = signals::cancellation();
        let started = Instant::now();
        let (source, prepared) = tokio::select! {
            decided = Box::pin(self.decide()) => decided?,
            Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
                return Err(crate::replay::interrupted());
            }
        };
        let (Some(destination), false) = (self.destination, self.dry_run) else {
            let (plan, notes) = (prepared.report, prepared.notes);
            return answer(&DryRun { plan, notes }, output);
        };
        let plan_seconds = started.elapsed().as_secs_f64();
        let bar = Arc::new(progress_bar(prepared.total_bytes));
        let shown = bar.clone();
        let runtime = tokio::runtime::Handle::current();
        let working = tokio::task::spawn_blocking(move || {
            execute(
                &runtime,
                &source,
                &prepared,
                &destination,
                &cancelled,
                plan_seconds,
                &|bytes| shown.inc(bytes),
            )
        });
        let report = working.await.map_err(|error| {
            RestoreError::new(Kind::Failed, "the restore's thread ended early").because(error)
        });
        bar.finish_and_clear();
        answer(&report??, output)
    }

    async fn decide(&self) -> Result<(Source, Prepared), RestoreError> {
        let cluster = open_cluster(self.vault, self.cluster).await?;
        let Resolved { source, target } = resolve(&cluster, self.timeline, self.wanted).await?;
        let mut prepared = prepare(&source, self.depth.request(target)).await?;
        prepared.report.point = Some(describe(&source, prepared.recipe.target).await);
        let members = self.destination.as_ref().map_or(1, Destination::members);
        let altering = self
            .finish
            .alter(&mut prepared, &cluster, members, self.dry_run);
        altering.await?;
        Ok((source, prepared))
    }

    /// Before anything is fetched; looked at again when the result is placed.
    fn refuse_unless_free(&self) -> Result<(), RestoreError> {
        let Some(destination) = &self.destination else {
            return Ok(());
        };
        let directory = !matches!(destination, Destination::SnapshotFile { .. });
        refuse_unless_free(destination.path(), directory)?;
        match destination {
            Destination::DataDir {
                wal_dir: Some(wal_dir),
                ..
            } => refuse_unless_free(wal_dir, true),
            _ => Ok(()),
        }
    }
}

/// A bar on standard error, where that is a terminal.
fn progress_bar(total_bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(total_bytes);
    let style = "{elapsed_precise} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
