//! A restore of the small vault, and what it reads.

use std::path::{Path, PathBuf};

use revkeep_restore::RestoreError;
use revkeep_restore::around::execute_around;
use revkeep_restore::execute::Destination;
use revkeep_restore::overlap::Overlaps;
use revkeep_restore::plan::{History, Target};
use revkeep_restore::prepare::{Request, prepare};
use revkeep_restore::source::{Source, open_cluster};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::{Revision, RowBuf, RowSource};
use revkeep_vault::Piece;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Restores a revision of the first timeline; gives the rows.
pub(super) fn restore(
    runtime: &Runtime,
    vault: &Path,
    target: Target,
    path: PathBuf,
) -> Result<Vec<RowBuf>, RestoreError> {
    restore_and_tell(runtime, vault, target, path).map(|(rows, _)| rows)
}

/// The same, with what the report notes.
pub(super) fn restore_and_tell(
    runtime: &Runtime,
    vault: &Path,
    target: Target,
    path: PathBuf,
) -> Result<(Vec<RowBuf>, Vec<String>), RestoreError> {
    let request = Request {
        target,
        history: History::AsSource,
        overlaps: Overlaps::Small,
    };
    let (source, prepared) = runtime.block_on(async {
        let cluster = open_cluster(&format!("file://{}", vault.display()), "c").await?;
        let source = Source::open(&cluster, Some("0001")).await?;
        let prepared = prepare(&source, request).await?;
        Ok::<_, RestoreError>((source, prepared))
    })?;
    let destination = Destination::SnapshotFile { path: path.clone() };
    let (_sender, cancelled) = watch::channel(false);
    let (runtime, progress) = (runtime.handle(), |_: u64| {});
    let report = execute_around(
        runtime,
        &source,
        request,
        prepared,
        &destination,
        &cancelled,
        0.0,
        &progress,
        &|_| {},
    )?;
    let db = DbFile::open(path).unwrap();
    let mut rows = db.rows().unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        all.push(row.to_buf());
    }
    Ok((all, report.notes))
}

/// The objects that a restore of the sound vault reads, by the ends of their names.
pub(super) fn needed(runtime: &Runtime, vault: &Path, revision: i64) -> Vec<String> {
    let request = Request {
        target: Target::Revision(Revision(revision)),
        history: History::AsSource,
        overlaps: Overlaps::Small,
    };
    let (source, prepared) = runtime.block_on(async {
        let cluster = open_cluster(&format!("file://{}", vault.display()), "c").await;
        let source = Source::open(&cluster.unwrap(), Some("0001")).await.unwrap();
        let prepared = prepare(&source, request).await.unwrap();
        (source, prepared)
    });
    let cluster = source.timeline.cluster();
    let pieces = prepared.pieces.iter().map(|piece| match piece {
        Piece::Chunk(chunk) => cluster.chunk_object(chunk),
        Piece::Segment { entry, .. } => entry.name.clone(),
    });
    let base = source.inventory.bases.iter();
    let base = base.filter(|base| base.revision == prepared.recipe.base_revision);
    let names = base.map(|base| base.name.clone()).chain(pieces);
    names
        .chain(["FORMAT".to_owned(), "clusters/c/0001/timeline".to_owned()])
        .collect()
}
