//! Rows of the vault from many places, to compare a snapshot with that shares no uncompacted revision with it.

use std::collections::HashMap;

use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{Revision, Row, RowKey};
use revkeep_vault::{Newest, Piece, ReadOptions, Timeline};

use super::trail::digest;
use crate::AgentError;

/// Chunks of the base, spread over all of it, and segments, the newest, that are read.
const CHUNKS: usize = 8;
const SEGMENTS: usize = 8;
/// Rows that are kept.
const ROWS: usize = 200_000;

/// Some of the revisions in the vault, whole.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Closed ranges of revisions of which every row is here.
    ranges: Vec<(Revision, Revision)>,
    rows: HashMap<RowKey, RowDigest>,
}

/// What a snapshot's rows say of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows that are in both.
    pub same: usize,
    /// The first row that the vault does not have, or has otherwise.
    pub foreign: Option<RowKey>,
}

impl Sample {
    /// Reads it.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn read(timeline: &Timeline, newest: &Newest) -> Result<Self, AgentError> {
        let mut sample = Self::default();
        let mut segments: Vec<_> = newest.segments.iter().collect();
        segments.sort_by_key(|entry| entry.last);
        for entry in segments.iter().rev().take(SEGMENTS) {
            let piece = Piece::Segment {
                entry: (*entry).clone(),
                from: entry.first,
                to: entry.last,
            };
            sample
                .add(timeline, piece, (entry.first, entry.last))
                .await?;
        }
        let chunks = &newest.base.chunks;
        let step = chunks.len().div_ceil(CHUNKS).max(1);
        // The newest of them are the likeliest to be left.
        for chunk in chunks.iter().rev().step_by(step) {
            // Its first and last revision may be in its neighbours too.
            let whole = (chunk.first.next(), chunk.last.previous());
            sample.add(timeline, Piece::Chunk(*chunk), whole).await?;
        }
        Ok(sample)
    }

    async fn add(
        &mut self,
        timeline: &Timeline,
        piece: Piece,
        range: (Revision, Revision),
    ) -> Result<(), AgentError> {
        if self.rows.len() >= ROWS || range.1 < range.0 {
            return Ok(());
        }
        let mut incoming = timeline.read_rows(vec![piece], ReadOptions::default());
        let mut found = HashMap::new();
        while let Some(rows) = incoming.recv().await {
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) if error.kind() == revkeep_vault::ErrorKind::Retry => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(%error, "rows in the vault cannot be read, to be compared with the source");
                    return Ok(());
                }
            };
            for row in EncodedRows::new(&rows.bytes) {
                let row = row?;
                found.insert(row.key, digest([row]));
            }
        }
        self.rows.extend(found);
        self.ranges.push(range);
        Ok(())
    }

    /// The ranges of revisions, to be looked for in a snapshot.
    #[must_use]
    pub fn ranges(&self) -> &[(Revision, Revision)] {
        &self.ranges
    }

    /// Takes a row of the snapshot that lies in one of the ranges: compaction removes rows, and never adds one.
    pub fn compare(&self, row: &Row<'_>, compared: &mut Compared) {
        if self.rows.get(&row.key) == Some(&digest([*row])) {
            compared.same += 1;
        } else {
            compared.foreign.get_or_insert(row.key);
        }
    }
}
