//! Batches of rows, from the asynchronous vault to a blocking consumer.

use bytes::Bytes;
use revkeep_schemas::digest::RowDigest;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::error::{Kind, RestoreError};

/// A run of encoded rows.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows, as [`revkeep_schemas::row`] encodes them.
    pub rows: Bytes,
    /// For a batch of the base the digest of its rows. Those after the base are whole revisions of segments, which may
    /// overlap, and have none.
    pub base_digest: Option<RowDigest>,
}

/// Where batches come from.
pub trait Batches {
    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    /// What the vault says, or [`Kind::Interrupted`].
    fn next_batch(&mut self) -> Result<Option<Batch>, RestoreError>;
}

/// Batches from a bounded channel, for a thread that may block. It wakes up when the command is cancelled.
#[derive(Debug)]
pub struct Feed {
    runtime: Handle,
    batches: mpsc::Receiver<Result<Batch, RestoreError>>,
    cancelled: watch::Receiver<bool>,
}

impl Feed {
    /// A feed from a channel of the runtime behind `runtime`; `cancelled` turns true when the command shall end.
    #[must_use]
    pub const fn new(
        runtime: Handle,
        batches: mpsc::Receiver<Result<Batch, RestoreError>>,
        cancelled: watch::Receiver<bool>,
    ) -> Self {
        Self {
            runtime,
            batches,
            cancelled,
        }
    }
}

impl Batches for Feed {
    fn next_batch(&mut self) -> Result<Option<Batch>, RestoreError> {
        let Self {
            runtime,
            batches,
            cancelled,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(interrupted()),
                batch = batches.recv() => batch.transpose(),
            }
        })
    }
}

/// The command was cancelled.
pub(crate) fn interrupted() -> RestoreError {
    RestoreError::new(
        Kind::Interrupted,
        "interrupted; nothing was left at the target",
    )
}
