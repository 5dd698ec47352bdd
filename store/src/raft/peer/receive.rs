//! Receiving the whole state from the leader.

use std::{io::Write as _, path::Path};

use bytes::Bytes;
use revkeep_schemas::store_api::{SnapshotChunk, SnapshotHeader, snapshot_chunk::Part};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tonic::{Status, Streaming};

use crate::{Result, StoreError, executor::Executor};

/// How the files are called, so that leftovers of a kill can be told.
pub(in crate::raft) const PREFIX: &str = "received-";

fn failed(error: impl Into<StoreError>) -> Status {
    Status::unavailable(format!("the snapshot was not received: {}", error.into()))
}

/// The first message: who sends what.
pub(super) async fn header(
    chunks: &mut Streaming<SnapshotChunk>,
) -> Result<SnapshotHeader, Status> {
    match chunks.message().await?.and_then(|chunk| chunk.part) {
        Some(Part::Header(header)) => Ok(header),
        _ => Err(Status::invalid_argument(
            "a snapshot must begin with its header",
        )),
    }
}

/// All other messages, into a file of the scratch folder. `alive` is called with every one of them.
pub(super) async fn file(
    chunks: &mut Streaming<SnapshotChunk>,
    scratch: &Path,
    executor: Executor,
    alive: impl Fn(),
) -> Result<TempPath, Status> {
    let folder = scratch.to_path_buf();
    let created = executor.run(move || {
        tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(&folder)
            .map_err(|error| {
                StoreError::disk(format!("create a file in {}", folder.display()), error)
            })
    });
    let mut file = created.await.and_then(|file| file).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut received = 0;
    while let Some(chunk) = chunks.message().await? {
        alive();
        match chunk.part {
            Some(Part::Data(data)) => {
                received += data.len() as u64;
                (file, hash) = write(executor, file, hash, data).await.map_err(failed)?;
            }
            Some(Part::End(end)) => {
                let hash: [u8; 32] = hash.finalize().into();
                if end.bytes != received || end.sha256 != hash.as_slice() {
                    return Err(Status::data_loss(format!(
                        "the snapshot was damaged on its way: {received} of {} bytes, or another hash",
                        end.bytes
                    )));
                }
                return Ok(file.into_temp_path());
            }
            _ => return Err(Status::invalid_argument("a snapshot has only one header")),
        }
    }
    Err(Status::data_loss(format!(
        "the snapshot ended early, after {received} bytes"
    )))
}

async fn write(
    executor: Executor,
    mut file: NamedTempFile,
    mut hash: Sha256,
    data: Bytes,
) -> Result<(NamedTempFile, Sha256)> {
    let writing = executor.run(move || {
        hash.update(&data);
        let written = file.write_all(&data);
        let path = file.path().display().to_string();
        written
            .map(|()| (file, hash))
            .map_err(|error| StoreError::disk(format!("write {path}"), error))
    });
    writing.await?
}
