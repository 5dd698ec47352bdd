//! The database on its way to a client.

use std::fs::File;
use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};
use revkeep_schemas::etcd_api::etcdserverpb::SnapshotResponse;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tonic::Status;

use super::engine::Engine;
use crate::error::{Result, StoreError};
use crate::executor::Executor;

/// How much one message carries; etcd sends 32 KiB.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces of the database file, then its SHA-256.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

/// Writes the database as it is now to a file of its own, off to the side, and sends that: however slow the client, no
/// write waits for it and no page of the state is held.
pub(super) async fn pieces(engine: &Engine) -> Result<Pieces> {
    let backend = Arc::clone(&engine.shared().backend);
    let folder = engine.options().scratch.clone();
    let executor = engine.options().executor;
    let file = executor
        .run(move || {
            let path = crate::snapshot::export_into(&backend.view(), &folder)?;
            let failed = |error| cannot_read(&path, error);
            let file = File::open(&path).map_err(failed)?;
            let left = file.metadata().map_err(failed)?.len();
            Ok::<_, StoreError>(Sending {
                path,
                file,
                left,
                hash: Sha256::new(),
            })
        })
        .await??;
    tracing::info!(bytes = file.left, "sending a snapshot to a client");
    Ok(Box::pin(stream::unfold(
        (Some(file), executor),
        async |(file, executor)| {
            let (piece, file) = next(file?, executor).await;
            Some((piece, (file, executor)))
        },
    )))
}

/// A file that is being sent.
struct Sending {
    path: TempPath,
    file: File,
    left: u64,
    hash: Sha256,
}

/// The next message, and what comes after it.
async fn next(
    file: Sending,
    executor: Executor,
) -> (Result<SnapshotResponse, Status>, Option<Sending>) {
    match executor.run(move || read(file)).await {
        Ok(Ok((piece, file))) => (Ok(piece), file),
        Ok(Err(error)) | Err(error) => (Err(error.into()), None),
    }
}

fn read(mut sending: Sending) -> Result<(SnapshotResponse, Option<Sending>)> {
    if sending.left == 0 {
        let last = SnapshotResponse {
            blob: Bytes::copy_from_slice(&sending.hash.finalize()),
            ..SnapshotResponse::default()
        };
        return Ok((last, None));
    }
    let length = usize::try_from(sending.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
    let mut blob = vec![0; length];
    sending
        .file
        .read_exact(&mut blob)
        .map_err(|error| cannot_read(&sending.path, error))?;
    sending.hash.update(&blob);
    sending.left -= length as u64;
    let piece = SnapshotResponse {
        remaining_bytes: sending.left,
        blob: blob.into(),
        ..SnapshotResponse::default()
    };
    Ok((piece, Some(sending)))
}

fn cannot_read(path: &TempPath, error: std::io::Error) -> StoreError {
    StoreError::internal_from(
        format!("cannot read the snapshot {}", path.display()),
        error,
    )
}
