//! Reads the finished file back.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::compaction::LiveIndex;
use revkeep_schemas::hashkv::HashView;
use revkeep_schemas::{Revision, Row, RowSource};

use super::Built;
use super::database::bump_row;
use crate::error::{Kind, RestoreError};
use crate::replay::Recipe;

/// Threads that read at once. Each holds one window of the file, 256 KiB or the largest row.
const MOST_THREADS: usize = 8;
/// Bytes of rows after which a thread asks whether to go on.
const ASK_BYTES: u64 = 1 << 20;

/// Reads the finished file back as a server would, from its metas down the tree to every row of the `key` bucket, and
/// compares the number of rows and their HashKV with what was meant to be written. Every page on the way is checked,
/// and the order of all keys.
///
/// The file may still be on its way to the disk: this reads what the operating system holds of it, as any read after a
/// write does, and its sync has to succeed besides. Several threads read parts of the rows, so memory is theirs,
/// whatever the file's size. `go_on` is asked every MiB.
///
/// # Errors
/// [`Kind::Verification`] for a difference or a damaged page, and what `go_on` says.
pub fn read_back(
    path: &Path,
    recipe: &Recipe,
    index: &LiveIndex,
    built: &Built,
    go_on: impl Fn() -> Result<(), RestoreError> + Sync,
) -> Result<(), RestoreError> {
    let reader = Reader {
        db: DbFile::open(path)?,
        recipe,
        index,
        parts: parts(&built.part_starts),
        next: AtomicUsize::new(0),
        go_on,
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(MOST_THREADS).min(reader.parts.len());
    let mut read = thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| reader.read_parts()))
            .collect();
        let mut read = Vec::new();
        for thread in started {
            read.extend(thread.join().map_err(|_| panicked())??);
        }
        Ok::<_, RestoreError>(read)
    })?;
    read.sort_by_key(|part| part.position);
    let mut count = 0;
    let mut view: Option<HashView> = None;
    for part in read {
        count += part.rows;
        match &mut view {
            None => view = Some(part.view),
            Some(view) => view.join(part.view),
        }
    }
    let hash = view.unwrap_or_else(|| recipe.result_view()).finish();
    if (hash, count) == (built.hash, built.rows) {
        return Ok(());
    }
    Err(RestoreError::new(
        Kind::Verification,
        format!(
            "{}: {count} rows with HashKV {hash} were read back where {} with {} were written: check this disk; nothing was left at the target",
            path.display(),
            built.rows,
            built.hash
        ),
    ))
}

/// Closed by the next start: every revision lies in exactly one part.
fn parts(starts: &[Revision]) -> Vec<Range<Revision>> {
    let froms = [Revision::ZERO].into_iter().chain(starts.iter().copied());
    let ends = starts.iter().copied().chain([Revision::MAX]);
    froms.zip(ends).map(|(from, end)| from..end).collect()
}

struct Reader<'a, F> {
    db: DbFile,
    recipe: &'a Recipe,
    index: &'a LiveIndex,
    parts: Vec<Range<Revision>>,
    /// The position of the next part that no thread has taken.
    next: AtomicUsize,
    go_on: F,
}

/// What a part holds.
struct Part {
    position: usize,
    rows: u64,
    view: HashView,
}

impl<F: Fn() -> Result<(), RestoreError> + Sync> Reader<'_, F> {
    /// Reads parts until none is left. An error leaves none for the other threads.
    fn read_parts(&self) -> Result<Vec<Part>, RestoreError> {
        let mut read = Vec::new();
        loop {
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = self.parts.get(position) else {
                return Ok(read);
            };
            let part = self.read_part(position, part);
            read.push(part.inspect_err(|_| {
                self.next.store(self.parts.len(), Ordering::Relaxed);
            })?);
        }
    }

    fn read_part(&self, position: usize, part: &Range<Revision>) -> Result<Part, RestoreError> {
        let mut view = if position == 0 {
            self.recipe.result_view()
        } else {
            self.recipe.continued_result_view()
        };
        let mut source = self.db.rows()?;
        source.seek(part.start)?;
        let mut rows = 0;
        let mut bytes = 0;
        while let Some(row) = source.next_row()? {
            if row.key.main >= part.end {
                break;
            }
            if row.key.main > self.recipe.target {
                self.check_bumped(&row)?;
            }
            view.update(&row, self.index, Recipe::AT_TARGET)?;
            rows += 1;
            bytes += row.encoded_len() as u64;
            if bytes >= ASK_BYTES {
                bytes = 0;
                (self.go_on)()?;
            }
        }
        Ok(Part {
            position,
            rows,
            view,
        })
    }
}

impl<F> Reader<'_, F> {
    /// Above the target there is the row of a bumped revision alone, which no hash at the target covers.
    fn check_bumped(&self, row: &Row<'_>) -> Result<(), RestoreError> {
        if self.recipe.bumped.map(bump_row) == Some(*row) {
            return Ok(());
        }
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "row {}_{} was read back above the target {}: check this disk; nothing was left at the target",
                row.key.main, row.key.sub, self.recipe.target
            ),
        ))
    }
}

fn panicked() -> RestoreError {
    RestoreError::new(Kind::Failed, "a thread that read the file back panicked")
}
