//! `revkeep restore`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use revkeep_schemas::member::{NewMember, RestoredCluster};

use super::into::{self, IntoArguments};
use super::keys_out::{self, Place};
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
  revkeep restore prod --to-revision 120934 --snapshot-file ./at-120934.db
  revkeep restore prod --to-time '20m ago' --into http://127.0.0.1:2379 --prefix /registry/pods/shop/ --apply
  revkeep restore prod --to-revision 120934 --ndjson - --prefix /registry/configmaps/")]
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
    /// Write the keys here, a JSON object a line; - for standard output
    #[arg(long, value_name = "FILE|-")]
    ndjson: Option<String>,
    /// Write each key's value into a file in this new folder, and %keys.ndjson beside them
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// With --ndjson, --files and --into: keys that begin with this alone; "" for all
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    into: IntoArguments,
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
    /// One target at most, and no flag that it does not know.
    fn check_targets(&self) -> Result<(), RestoreError> {
        let targets = [
            ("--data-dir", self.data_dir.is_some()),
            ("--store-dir", self.store_dir.is_some()),
            ("--snapshot-file", self.snapshot_file.is_some()),
            ("--ndjson", self.ndjson.is_some()),
            ("--files", self.files.is_some()),
            ("--into", !self.into.into.is_empty()),
        ];
        let named: Vec<_> = targets
            .iter()
            .filter(|(_, named)| *named)
            .map(|(name, _)| *name)
            .collect();
        let invalid = |message: String| Err(RestoreError::new(Kind::Invalid, message));
        if named.len() > 1 {
            return invalid(format!(
                "{} cannot be given together: one target at a time",
                named.join(" and ")
            ));
        }
        let of_keys = named
            .first()
            .is_some_and(|name| matches!(*name, "--ndjson" | "--files" | "--into"));
        if self.prefix.is_some() && !of_keys {
            return invalid("--prefix is for --into, --ndjson and --files: other targets take the whole cluster".to_owned());
        }
        if self.into.into.is_empty() && self.into.acts() {
            return invalid("--apply, --delete-extra and --plan-file are for --into. Try: --into ENDPOINTS --prefix PREFIX".to_owned());
        }
        Ok(())
    }

    /// Where keys go, if they alone are wanted.
    fn place(&self) -> Option<Place> {
        let ndjson = self.ndjson.as_deref().map(|path| match path {
            "-" => Place::Ndjson(None),
            path => Place::Ndjson(Some(path.into())),
        });
        ndjson.or_else(|| self.files.clone().map(Place::Files))
    }

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
    arguments.check_targets()?;
    let wanted = arguments.point.wanted()?;
    if !arguments.into.into.is_empty() {
        let from = into::From {
            vault,
            cluster: &arguments.cluster,
            timeline: arguments.point.timeline.as_deref(),
            wanted: &wanted,
            prefix: arguments.prefix.as_deref().unwrap_or_default(),
        };
        return Box::pin(into::run(from, &arguments.into, output)).await;
    }
    if let Some(place) = arguments.place() {
        let cluster = open_cluster(vault, &arguments.cluster).await?;
        let found = resolve(&cluster, arguments.point.timeline.as_deref(), &wanted).await?;
        let prefix = arguments.prefix.as_deref().unwrap_or_default();
        return Box::pin(keys_out::run(
            &found,
            prefix,
            &place,
            arguments.dry_run,
            output,
        ))
        .await;
    }
    let destination = arguments.destination()?;
    if destination.is_none() && !arguments.dry_run {
        return Err(RestoreError::new(
            Kind::Invalid,
            "no target is named. Try: --data-dir DIR, --store-dir DIR, --snapshot-file FILE, --into ENDPOINTS, --ndjson FILE, --files DIR, or --dry-run to see the plan",
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
