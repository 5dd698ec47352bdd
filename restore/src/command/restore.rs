//! `revkeep restore`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use revkeep_schemas::member::{NewMember, RestoredCluster};

use super::point::PointArguments;
use super::{Output, answer, signals};
use crate::error::{Kind, RestoreError};
use crate::execute::{Destination, execute};
use crate::overlap::Overlaps;
use crate::plan::{History, Target};
use crate::point::{Resolved, describe, resolve};
use crate::prepare::{Request, prepare};
use crate::report::DryRun;
use crate::source::open_cluster;
use crate::target::{Membership, refuse_unless_free};

/// What `revkeep restore` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep restore prod --latest --data-dir /var/lib/etcd-restored
  revkeep restore prod --to-revision 120934 --data-dir ./m1 --name m1 --initial-cluster m1=http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.1:2380
  revkeep restore prod --to-time '20m ago' --dry-run
  revkeep restore prod --before-delete /registry/namespaces/shop --since '2h ago' --data-dir /var/lib/etcd-restored
  revkeep restore prod --to-revision 120934 --snapshot-file ./at-120934.db")]
pub(super) struct Arguments {
    /// The cluster's name in the vault
    cluster: String,
    #[command(flatten)]
    point: PointArguments,
    /// Build a member's data directory here: absent, or empty
    #[arg(long, value_name = "DIR", conflicts_with_all = ["snapshot_file", "store_dir"])]
    data_dir: Option<PathBuf>,
    /// Build a data directory of revkeep-store here: absent, or empty
    #[arg(long, value_name = "DIR", conflicts_with = "snapshot_file")]
    store_dir: Option<PathBuf>,
    /// Write a snapshot for `etcdutl snapshot restore` here: must not exist
    #[arg(long, value_name = "FILE")]
    snapshot_file: Option<PathBuf>,
    /// The member's name
    #[arg(long, default_value = "default")]
    name: String,
    /// All members, as name=peer-url,…; by default this one alone
    #[arg(long, value_name = "LIST")]
    initial_cluster: Option<String>,
    /// The token that member and cluster ids are derived from
    #[arg(long, default_value = "etcd-cluster", value_name = "TOKEN")]
    initial_cluster_token: String,
    /// This member's peer URLs, separated by commas
    #[arg(long, default_value = "http://localhost:2380", value_name = "URLS")]
    initial_advertise_peer_urls: String,
    /// Where the write-ahead log goes; by default into the data directory
    #[arg(
        long,
        value_name = "DIR",
        requires = "data_dir",
        conflicts_with = "snapshot_file"
    )]
    wal_dir: Option<PathBuf>,
    /// Keep all history that the vault has, not only what the source still had
    #[arg(long)]
    keep_history: bool,
    /// Compare all segments that overlap, row by row where their indexes do not tell; by default only where it costs little
    #[arg(long)]
    verify_overlaps: bool,
    /// Print what would be read, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    fn destination(&self) -> Result<Option<Destination>, RestoreError> {
        if let Some(path) = &self.snapshot_file {
            return Ok(Some(Destination::SnapshotFile { path: path.clone() }));
        }
        if self.data_dir.is_none() && self.store_dir.is_none() {
            return Ok(None);
        }
        let membership = Membership::parse(
            &self.name,
            self.initial_cluster.as_deref(),
            &self.initial_advertise_peer_urls,
            &self.initial_cluster_token,
        )?;
        let members = membership
            .members
            .into_iter()
            .map(|(name, peer_urls)| NewMember { name, peer_urls });
        let cluster = RestoredCluster {
            members: members.collect(),
            token: membership.token,
        };
        cluster
            .resolve()
            .map_err(|error| RestoreError::new(Kind::Invalid, error.to_string()))?;
        let store = self.store_dir.iter().map(|path| Destination::StoreDir {
            path: path.clone(),
            cluster: cluster.clone(),
        });
        let etcd = self.data_dir.iter().map(|path| Destination::DataDir {
            path: path.clone(),
            wal_dir: self.wal_dir.clone(),
            cluster: cluster.clone(),
            name: membership.name.clone(),
        });
        Ok(store.chain(etcd).next())
    }

    fn request(&self, target: Target) -> Request {
        Request {
            target,
            history: if self.keep_history {
                History::Everything
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

/// Restores, or prints the plan.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let destination = arguments.destination()?;
    let wanted = arguments.point.wanted()?;
    if destination.is_none() && !arguments.dry_run {
        return Err(RestoreError::new(
            Kind::Invalid,
            "no target is named. Try: --data-dir DIR, --store-dir DIR, --snapshot-file FILE, or --dry-run to see the plan",
        ));
    }
    if let Some(destination) = &destination {
        // Before anything is fetched; looked at again when the result is placed.
        let directory = !matches!(destination, Destination::SnapshotFile { .. });
        refuse_unless_free(destination.path(), directory)?;
        if let Some(wal_dir) = &arguments.wal_dir {
            refuse_unless_free(wal_dir, true)?;
        }
    }
    let mut cancelled = signals::cancellation();
    let started = Instant::now();
    let deciding = async {
        let cluster = open_cluster(vault, &arguments.cluster).await?;
        let timeline = arguments.point.timeline.as_deref();
        let Resolved { source, target } = resolve(&cluster, timeline, &wanted).await?;
        let mut prepared = prepare(&source, arguments.request(target)).await?;
        prepared.report.point = Some(describe(&source, prepared.recipe.target).await);
        Ok::<_, RestoreError>((source, prepared))
    };
    let (source, prepared) = tokio::select! {
        decided = deciding => decided?,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
            return Err(crate::replay::interrupted());
        }
    };
    let (Some(destination), false) = (destination, arguments.dry_run) else {
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
