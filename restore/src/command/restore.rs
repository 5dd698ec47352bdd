//! `revkeep restore`.

use std::path::PathBuf;

use clap::Args;
use revkeep_schemas::member::{NewMember, RestoredCluster};

use super::Output;
use super::finish::FinishArguments;
use super::into::{self, IntoArguments};
use super::keys_out::{self, Place};
use super::point::PointArguments;
use super::whole::{DepthArguments, Whole};
use crate::error::{Kind, RestoreError};
use crate::execute::Destination;
use crate::leases::LeaseRule;
use crate::live::LeasePolicy;
use crate::target::Membership;

/// What `revkeep restore` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep restore prod --latest --data-dir /var/lib/etcd-restored
  revkeep restore prod --to-revision 120934 --data-dir ./m1 --name m1 --initial-cluster m1=http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.1:2380
  revkeep restore prod --to-time '20m ago' --dry-run
  revkeep restore prod --before-delete /registry/namespaces/shop --since '2h ago' --data-dir /var/lib/etcd-restored
  revkeep restore prod --to-revision 120934 --snapshot-file ./at-120934.db
  revkeep restore prod --to-time '20m ago' --into http://127.0.0.1:2379 --prefix /registry/pods/shop/
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
    #[command(flatten)]
    depth: DepthArguments,
    #[command(flatten)]
    finish: FinishArguments,
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
        if self.dry_run && self.into.applies() {
            return invalid(
                "--dry-run and --apply cannot be given together. Try: --into without --apply, which prints the plan and changes nothing"
                    .to_owned(),
            );
        }
        if of_keys && self.finish.alters_the_whole() {
            return invalid(
                "--bump-revision and --mark-compacted are for whole clusters. Try: --data-dir DIR"
                    .to_owned(),
            );
        }
        let exported = named
            .first()
            .is_some_and(|name| matches!(*name, "--ndjson" | "--files"));
        if exported && self.finish.leases != LeaseRule::Keep {
            return invalid(
                "--leases is for clusters. Try: --data-dir DIR, or --into ENDPOINTS".to_owned(),
            );
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
        let (cluster, name) = self.membership()?;
        let store = self.store_dir.iter().map(|path| Destination::StoreDir {
            path: path.clone(),
            cluster: cluster.clone(),
        });
        let etcd = self.data_dir.iter().map(|path| Destination::DataDir {
            path: path.clone(),
            wal_dir: self.wal_dir.clone(),
            cluster: cluster.clone(),
            name: name.clone(),
        });
        Ok(store.chain(etcd).next())
    }

    /// What a plan shows the steps for where no target is named.
    fn example(&self) -> Result<Destination, RestoreError> {
        let (cluster, name) = self.membership()?;
        Ok(Destination::DataDir {
            path: "/var/lib/etcd-restored".into(),
            wal_dir: None,
            cluster,
            name,
        })
    }

    /// The cluster to boot into, and the member's name.
    fn membership(&self) -> Result<(RestoredCluster, String), RestoreError> {
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
        Ok((cluster, membership.name))
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
            leases: live_leases(arguments.finish.leases)?,
            dry_run: arguments.dry_run,
        };
        return Box::pin(into::run(from, &arguments.into, output)).await;
    }
    if let Some(place) = arguments.place() {
        let wish = keys_out::Wish {
            vault,
            cluster: &arguments.cluster,
            timeline: arguments.point.timeline.as_deref(),
            wanted: &wanted,
            prefix: arguments.prefix.as_deref().unwrap_or_default(),
            place: &place,
            dry_run: arguments.dry_run,
        };
        return Box::pin(keys_out::run(wish, output)).await;
    }
    let destination = arguments.destination()?;
    if destination.is_none() && !arguments.dry_run {
        return Err(RestoreError::new(
            Kind::Invalid,
            "no target is named. Try: --data-dir DIR, --store-dir DIR, --snapshot-file FILE, --into ENDPOINTS, --ndjson FILE, --files DIR, or --dry-run to see the plan",
        ));
    }
    let example = destination.is_none().then(|| arguments.example());
    let example = example.transpose()?;
    let whole = Whole {
        vault,
        cluster: &arguments.cluster,
        timeline: arguments.point.timeline.as_deref(),
        wanted: &wanted,
        steady: arguments.point.steady(),
        destination,
        example,
        depth: &arguments.depth,
        finish: &arguments.finish,
        dry_run: arguments.dry_run,
    };
    Box::pin(whole.run(output)).await
}

/// What becomes of leases in a live cluster.
fn live_leases(rule: LeaseRule) -> Result<LeasePolicy, RestoreError> {
    match rule {
        LeaseRule::Keep => Ok(LeasePolicy::Keep),
        LeaseRule::Detach => Ok(LeasePolicy::Drop),
        LeaseRule::Expire => Err(RestoreError::new(
            Kind::Invalid,
            "--leases expire is for whole clusters. Try: --leases detach, which leaves keys without a lease",
        )),
    }
}
