//! `revkeep drill`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::{Output, answer, signals};
use crate::drill::{Drill, Drilled, Which};
use crate::error::{Kind, RestoreError};
use crate::point::moment;
use crate::source::open_cluster;

/// What `revkeep drill` takes.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(
    group(ArgGroup::new("point").args(["latest", "random", "to_revision", "to_time"])),
    after_help = "Examples:
  revkeep drill prod --vault s3://backups/etcd
  revkeep drill prod --random --etcd --etcd-bin /opt/etcd-3.5

It restores into a temporary folder, boots one member on 127.0.0.1, compares HashKV, ends it and removes the folder.
It ends with 13 when what was restored is not what the vault says."
)]
pub(super) struct Arguments {
    /// The cluster's name in the vault
    cluster: String,
    /// The newest revision, which is the default
    #[arg(long)]
    latest: bool,
    /// Any revision that the vault covers, of any timeline unless one is named
    #[arg(long)]
    random: bool,
    /// Exactly this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    to_revision: Option<i64>,
    /// The newest revision that was seen by then
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
    /// The timeline; by default the newest, with --random any
    #[arg(long, value_name = "ID")]
    timeline: Option<String>,
    /// Boot real etcd instead of revkeep-store
    #[arg(long)]
    etcd: bool,
    /// The folder of the program etcd, which is looked for nowhere else then; by default in PATH
    #[arg(long, value_name = "DIR", requires = "etcd")]
    etcd_bin: Option<PathBuf>,
    /// A folder with room for the restored cluster, in which a temporary one is made
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Store no receipt in the vault
    #[arg(long)]
    no_receipt: bool,
}

impl Arguments {
    fn which(&self) -> Result<Which, RestoreError> {
        use crate::point::Wanted;
        Ok(match (self.random, self.to_revision, &self.to_time) {
            (true, ..) => Which::Random,
            (_, Some(revision), _) => Which::This(Wanted::Revision(revision.into())),
            (.., Some(words)) => Which::This(Wanted::Time(moment(words, &chrono::Local::now())?)),
            _ => Which::This(Wanted::Latest),
        })
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    cluster: String,
    #[serde(flatten)]
    drilled: Drilled,
    receipt: Option<String>,
}

/// Drills, and stores a receipt, however it went.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let drill = Drill {
        timeline: arguments.timeline.clone(),
        which: arguments.which()?,
        etcd: arguments.etcd,
        programs: arguments.etcd_bin.clone(),
        scratch: arguments.scratch.clone(),
    };
    let cluster = open_cluster(vault, &arguments.cluster).await?;
    let cancelled = signals::cancellation();
    let drilled = Box::pin(drill.run(&cluster, cancelled, Arc::new(|_| {}))).await?;
    let receipt = if arguments.no_receipt {
        None
    } else {
        Some(cluster.put_receipt(&drilled.receipt()).await?.name)
    };
    let failure = drilled.failure.clone();
    let told = Answer {
        cluster: cluster.name().to_string(),
        drilled,
        receipt,
    };
    answer(&told, output)?;
    match failure {
        None => Ok(()),
        Some(failure) => Err(RestoreError::new(Kind::Verification, failure)),
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drilled = &self.drilled;
        let outcome = if drilled.failure.is_none() {
            "proven"
        } else {
            "FAILED"
        };
        writeln!(f, "drill     {} {outcome}", self.cluster)?;
        writeln!(
            f,
            "  revision  {} of timeline {}",
            drilled.revision, drilled.timeline
        )?;
        if let Some(server) = &drilled.server {
            writeln!(f, "  booted    {server}, in {:.1} s", drilled.boot_seconds)?;
        }
        if let Some(hash) = drilled.booted_hash {
            writeln!(
                f,
                "  HashKV    {hash} from the server, {} from the restore, compacted at {}",
                drilled.restored_hash.unwrap_or_default(),
                drilled.compact_revision
            )?;
        }
        writeln!(f, "  source    {}", drilled.source)?;
        for damage in &drilled.damage {
            writeln!(f, "  damaged   {damage}")?;
        }
        writeln!(
            f,
            "  seconds   restore {:.1}, all {:.1}",
            drilled.restore_seconds, drilled.seconds
        )?;
        if let Some(receipt) = &self.receipt {
            writeln!(f, "  receipt   {receipt}")?;
        }
        Ok(())
    }
}
