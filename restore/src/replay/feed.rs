//! Batches of rows, from the asynchronous vault to a blocking consumer.

use bytes::Bytes;
use revkeep_schemas::digest::RowDigest;
use revkeep_vault::{PlainRows, VaultError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::error::{Kind, RestoreError};
use crate::source::promised;

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

/// What the vault reads, for a thread that may block. It wakes up when the command is cancelled.
#[derive(Debug)]
pub struct Feed {
    runtime: Handle,
    rows: mpsc::Receiver<Result<PlainRows, VaultError>>,
    cancelled: watch::Receiver<bool>,
}

impl Feed {
    /// A feed of what is read on the runtime behind `runtime`; `cancelled` turns true when the command shall end.
    #[must_use]
    pub const fn new(
        runtime: Handle,
        rows: mpsc::Receiver<Result<PlainRows, VaultError>>,
        cancelled: watch::Receiver<bool>,
    ) -> Self {
        Self {
            runtime,
            rows,
            cancelled,
        }
    }
}

impl Batches for Feed {
    fn next_batch(&mut self) -> Result<Option<Batch>, RestoreError> {
        let Self {
            runtime,
            rows,
            cancelled,
        } = self;
        let rows = runtime.block_on(async {
            tokio::select! {
                biased;
                Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(interrupted()),
                rows = rows.recv() => rows.transpose().map_err(promised),
            }
        })?;
        Ok(rows.map(|rows| Batch {
            rows: rows.bytes,
            base_digest: rows.chunk_digest,
        }))
    }
}

/// The command was cancelled.
pub(crate) fn interrupted() -> RestoreError {
    RestoreError::new(
        Kind::Interrupted,
        "interrupted; nothing was left at the target",
    )
}
