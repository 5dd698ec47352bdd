//! Compares two readings of the same revisions, row by row.

use std::collections::VecDeque;

use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::row::EncodedRows;
use revkeep_vault::{Piece, PlainRows, ReadOptions, Timeline, VaultError};
use tokio::sync::mpsc;

use crate::error::RestoreError;
use crate::source::promised;

/// What is read ahead of one reading.
const READ_AHEAD: ReadOptions = ReadOptions {
    parallel: 2,
    memory_bytes: 8 * 1024 * 1024,
    ready: 1,
};

/// One reading: the digest of each revision, in order.
#[derive(Debug)]
pub struct Reading {
    batches: mpsc::Receiver<Result<PlainRows, VaultError>>,
    digests: VecDeque<(Revision, RowDigest)>,
}

impl Reading {
    /// The next revision, left in place.
    async fn peek(&mut self) -> Result<Option<(Revision, RowDigest)>, RestoreError> {
        while self.digests.is_empty() {
            let Some(batch) = self.batches.recv().await.transpose().map_err(promised)? else {
                return Ok(None);
            };
            for row in EncodedRows::new(&batch.bytes) {
                let row = row?;
                match self.digests.back_mut() {
                    Some((revision, digest)) if *revision == row.key.main => digest.add(&row),
                    _ => {
                        let mut digest = RowDigest::default();
                        digest.add(&row);
                        self.digests.push_back((row.key.main, digest));
                    }
                }
            }
        }
        Ok(self.digests.front().copied())
    }
}

/// Starts two readings of the same revisions.
#[must_use]
pub fn readings(timeline: &Timeline, one: Vec<Piece>, other: Vec<Piece>) -> (Reading, Reading) {
    let start = |pieces| Reading {
        batches: timeline.read_rows(pieces, READ_AHEAD),
        digests: VecDeque::new(),
    };
    (start(one), start(other))
}

/// Which of two readings failed, and how.
#[derive(Debug)]
pub enum ReadFailure {
    /// The first one.
    One(RestoreError),
    /// The second one.
    Other(RestoreError),
}

/// The first revision at which two readings differ, or `None` when they are equal to their ends.
///
/// # Errors
/// When one of them cannot be read.
pub async fn first_difference(
    mut one: Reading,
    mut other: Reading,
) -> Result<Option<Revision>, ReadFailure> {
    loop {
        let left = one.peek().await.map_err(ReadFailure::One)?;
        let right = other.peek().await.map_err(ReadFailure::Other)?;
        match (left, right) {
            (None, None) => return Ok(None),
            (Some(left), Some(right)) if left == right => {
                one.digests.pop_front();
                other.digests.pop_front();
            }
            (left, right) => {
                let revisions = left.into_iter().chain(right).map(|(revision, _)| revision);
                return Ok(revisions.min());
            }
        }
    }
}
