//! Restores of whole clusters, whichever command asks for one.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use revkeep_schemas::Revision;

use super::finish::{FinishArguments, same_point};
use super::point::Steady;
use super::steps::{Common, steps};
use super::{Output, answer, signals};
use crate::around::execute_around;
use crate::error::{Kind, RestoreError};
use crate::estimate::{DEFAULT_QUOTA_BYTES, Estimate};
use crate::execute::Destination;
use crate::overlap::Overlaps;
use crate::plan::{History, Target};
use crate::point::{Resolved, Wanted, describe, find};
use crate::prepare::{Prepared, Request, prepare};
use crate::report::DryRun;
use crate::source::{Source, open_cluster};
use crate::target::refuse_unless_free;
use crate::timelines::notes_on;

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
    /// The quota that the restored members will have: told before it starts if the result may exceed it
    #[arg(long, value_name = "BYTES", default_value_t)]
    quota_backend_bytes: Quota,
}

/// Bytes, as etcd's flag of this name takes them; 0 is etcd's default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota(u64);

impl Default for Quota {
    fn default() -> Self {
        Self(DEFAULT_QUOTA_BYTES)
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for Quota {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            0 => Ok(Self::default()),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl DepthArguments {
    /// The same flags, for a command that does the same.
    fn switches(&self) -> Vec<&'static str> {
        let all = [
            (self.keep_history, "--keep-history"),
            (self.compact_all, "--compact-all"),
            (self.verify_overlaps, "--verify-overlaps"),
        ];
        let given = all.into_iter().filter(|(given, _)| *given);
        given.map(|(_, flag)| flag).collect()
    }

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
    /// Whether that is the same for all members.
    pub(super) steady: Steady,
    /// Where the result goes; without one there is a plan alone.
    pub(super) destination: Option<Destination>,
    /// What steps are shown for where no target is named.
    pub(super) example: Option<Destination>,
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
        let (source, mut prepared) = tokio::select! {
            decided = Box::pin(self.decide()) => decided?,
            Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
                return Err(crate::replay::interrupted());
            }
        };
        let plan_seconds = started.elapsed().as_secs_f64();
        let spent = source.timeline.cluster().vault().traffic().into();
        let target = self.destination.as_ref().map(Destination::path);
        let estimate = Estimate::of(&prepared, spent, plan_seconds, self.vault, target);
        prepared.report.estimate = Some(estimate);
        let warnings = estimate.warnings(self.depth.quota_backend_bytes.0);
        if !self.dry_run {
            // The report comes when it is done, and that may be too late.
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
        }
        prepared.remark(warnings);
        if self.dry_run {
            return answer(&self.plan(prepared), output);
        }
        let request = self.depth.request(Target::Latest);
        let Some(destination) = self.destination else {
            return Err(RestoreError::new(
                Kind::Failed,
                "a restore without a target",
            ));
        };
        let bar = Arc::new(progress_bar(prepared.total_bytes));
        let shown = bar.clone();
        let runtime = tokio::runtime::Handle::current();
        let working = tokio::task::spawn_blocking(move || {
            execute_around(
                &runtime,
                &source,
                request,
                prepared,
                &destination,
                &cancelled,
                plan_seconds,
                &|bytes| shown.inc(bytes),
                &|again| {
                    shown.set_length(again.total_bytes);
                    shown.set_position(0);
                },
            )
        });
        let report = working.await.map_err(|error| {
            RestoreError::new(Kind::Failed, "the restore's thread ended early").because(error)
        });
        bar.finish_and_clear();
        answer(&report??, output)
    }

    fn plan(&self, prepared: Prepared) -> DryRun {
        let (plan, mut notes) = (prepared.report, prepared.notes);
        if self.destination.is_none() {
            notes.push("no target is named: the steps are an example".to_owned());
        }
        let common = Common {
            vault: self.vault,
            cluster: &plan.cluster,
            timeline: &plan.timeline,
            revision: plan.revision,
            switches: self.depth.switches(),
            bump: plan.bump.as_ref(),
            leases: plan.leases,
        };
        let destination = self.destination.as_ref().or(self.example.as_ref());
        let steps = destination.map_or_else(Vec::new, |destination| steps(&common, destination));
        DryRun { plan, notes, steps }
    }

    async fn decide(&self) -> Result<(Source, Prepared), RestoreError> {
        let cluster = open_cluster(self.vault, self.cluster).await?;
        let (Resolved { source, target }, doubt) =
            find(&cluster, self.timeline, self.wanted).await?;
        if let Some(doubt) = doubt.as_ref().filter(|_| !self.dry_run) {
            doubt.refuse()?;
        }
        let mut prepared = prepare(&source, self.depth.request(target)).await?;
        let revision = prepared.recipe.target;
        prepared.report.point = Some(describe(&source, revision).await);
        let notes = notes_on(&source, doubt.as_ref());
        prepared.remark(notes.await);
        let members = self.destination.as_ref().map_or(1, Destination::members);
        if members > 1 && !self.dry_run {
            prepared.remark(same_point(
                self.steady,
                &prepared.report.timeline,
                revision,
            )?);
        }
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
