//! Whether a timeline has at a revision what a file has.

use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::{FormatError, RowSource};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::SnapshotFile;
use crate::error::{Kind, RestoreError};
use crate::overlap::Overlaps;
use crate::plan::{History, Target};
use crate::prepare::{Request, prepare};
use crate::replay::{Replay, index_rows};
use crate::source::Source;

/// Restores the file's revision from the timeline, in memory and without keeping it, and compares the digest of all rows with
/// that of the file's, both compacted at the same revision. `false` as well where the timeline does not reach that revision.
///
/// # Errors
/// What reading the timeline and the file reports.
pub async fn has_the_same_rows(
    source: &Source,
    file: &SnapshotFile,
    cancelled: &watch::Receiver<bool>,
) -> Result<bool, RestoreError> {
    let request = Request {
        target: Target::Revision(file.position.revision),
        history: History::CompactedAt(file.position.compact_revision),
        overlaps: Overlaps::Small,
    };
    let prepared = match prepare(source, request).await {
        Err(error) if matches!(error.kind(), Kind::OutsideCoverage | Kind::Gap) => {
            return Ok(false);
        }
        prepared => prepared?,
    };
    let (runtime, cancelled) = (Handle::current(), cancelled.clone());
    let (source, file) = (source.clone(), file.clone());
    let comparing = spawn_blocking(move || {
        let recipe = &prepared.recipe;
        let feed = |pieces: &[_]| source.feed(&runtime, pieces.to_vec(), cancelled.clone());
        let seed = rand::random();
        let expected = usize::try_from(prepared.index_rows).unwrap_or(usize::MAX);
        let mut batches = feed(&prepared.index_pieces);
        let index = index_rows(recipe, &mut batches, seed, expected, |_| {})?;
        let mut theirs = RowDigest::default();
        let mut batches = feed(&prepared.pieces);
        Replay::new(recipe, &index, seed).run(
            &mut batches,
            |row| {
                theirs.add(row);
                Ok(())
            },
            |_| {},
        )?;
        let rows = file.rows_at(recipe.compact_revision, recipe.rule)?;
        Ok::<_, RestoreError>(digest(rows)? == theirs)
    });
    comparing.await.map_err(|error| {
        RestoreError::new(Kind::Failed, "the comparison's thread ended early").because(error)
    })?
}

fn digest(mut rows: impl RowSource<Error = FormatError>) -> Result<RowDigest, FormatError> {
    let mut digest = RowDigest::default();
    while let Some(row) = rows.next_row()? {
        digest.add(&row);
    }
    Ok(digest)
}
