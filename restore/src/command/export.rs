//! `revkeep export`: a restore into a snapshot file, by the word that people look for.

use std::path::PathBuf;

use clap::Args;

use super::Output;
use super::finish::FinishArguments;
use super::point::PointArguments;
use super::whole::{DepthArguments, Whole};
use crate::error::RestoreError;
use crate::execute::Destination;

/// What `revkeep export` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep export prod --latest now.db
  revkeep export prod --to-revision 120934 at-120934.db && etcdutl snapshot restore at-120934.db --data-dir m1
  revkeep export prod --to-time 'yesterday 14:00' yesterday.db --dry-run")]
pub(super) struct Arguments {
    /// The cluster's name in the vault
    cluster: String,
    #[command(flatten)]
    point: PointArguments,
    /// The file to write: must not exist
    file: PathBuf,
    #[command(flatten)]
    depth: DepthArguments,
    #[command(flatten)]
    finish: FinishArguments,
    /// Print what would be read, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Exports, or prints the plan.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let wanted = arguments.point.wanted()?;
    let whole = Whole {
        vault,
        cluster: &arguments.cluster,
        timeline: arguments.point.timeline.as_deref(),
        wanted: &wanted,
        steady: arguments.point.steady(),
        destination: Some(Destination::SnapshotFile {
            path: arguments.file.clone(),
        }),
        example: None,
        depth: &arguments.depth,
        finish: &arguments.finish,
        dry_run: arguments.dry_run,
    };
    Box::pin(whole.run(output)).await
}
