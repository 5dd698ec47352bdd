//! Sending the whole state to a member that lags.

use std::{error::Error as _, fs::File, io::Read as _, sync::Arc, time::Duration};

use bytes::Bytes;
use revkeep_schemas::store_api::{
    MembersRequest, SnapshotChunk, SnapshotEnd, SnapshotHeader, snapshot_chunk::Part,
};
use sha2::{Digest as _, Sha256};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{Link, PROTOCOL};
use crate::{
    Result, StoreError,
    executor::Executor,
    raft::{SnapshotFile, types::Vote, wire},
};

/// How much one message carries.
const CHUNK_BYTES: usize = 256 * 1024;

/// How many messages wait for the network.
const AHEAD: usize = 4;

/// The receiver may take so long before it takes the next message.
const PATIENCE: Duration = Duration::from_secs(60);

/// The receiver may take so long to say anything, before.
const ANSWER: Duration = Duration::from_secs(1);

/// Makes the file, when it is needed.
pub(in crate::raft) type MakeSnapshot = Arc<dyn Fn() -> Result<SnapshotFile> + Send + Sync>;

fn local(error: &StoreError) -> Status {
    Status::unavailable(format!("the snapshot could not be sent: {error}"))
}

/// Whether the member answers, whatever it says. One that is down is asked again and again: no file should be made for
/// it each time.
async fn reach(link: &Link) -> Result<(), Status> {
    let mut client = link.client();
    let request = MembersRequest { version: PROTOCOL };
    match link.call(ANSWER, client.members(request)).await {
        // What the other side says has no source here.
        Err(status) if status.source().is_some() || status.code() == Code::DeadlineExceeded => {
            Err(status)
        }
        _ => Ok(()),
    }
}

/// Makes a snapshot of what the state machine is now and sends it. Returns the receiver's ballot once it is installed
/// there, or was refused for a newer one.
pub(super) async fn snapshot(
    link: &Link,
    make: &MakeSnapshot,
    executor: Executor,
    vote: &Vote,
) -> Result<Vote, Status> {
    reach(link).await?;
    let maker = Arc::clone(make);
    let file = executor.run(move || maker()).await;
    let file = file.and_then(|file| file).map_err(|error| local(&error))?;
    let header = SnapshotHeader {
        route: Some(link.route()),
        ballot: Some(wire::ballot(vote)),
        at: Some(wire::place(file.position)),
        membership: file.raft_bytes.clone().unwrap_or_default(),
    };
    tracing::info!(position = %file.position, "a member lags: sending it a snapshot");

    let (parts, outgoing) = mpsc::channel(AHEAD);
    let mut client = link.separate_client();
    let calling = client.snapshot(ReceiverStream::new(outgoing));
    let reading = read(&file, header, parts, executor);
    let (response, read) = tokio::join!(calling, reading);
    read.map_err(|error| local(&error))?;
    link.answered();
    Ok(wire::vote(response?.into_inner().ballot.as_ref()))
}

/// Reads the file into messages, as fast as they are taken.
async fn read(
    snapshot: &SnapshotFile,
    header: SnapshotHeader,
    parts: mpsc::Sender<SnapshotChunk>,
    executor: Executor,
) -> Result<()> {
    let failed = |error| StoreError::disk(format!("read {}", snapshot.path.display()), error);
    let mut file = File::open(&snapshot.path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut sent = 0;
    if !send(&parts, Part::Header(header)).await {
        return Ok(());
    }
    loop {
        let reading = executor.run(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = file
                .by_ref()
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut chunk);
            hash.update(&chunk);
            (file, hash, read.map(|_| chunk))
        });
        let (open, hashed, chunk) = reading.await?;
        (file, hash) = (open, hashed);
        let chunk = chunk.map_err(failed)?;
        if chunk.is_empty() {
            break;
        }
        sent += chunk.len() as u64;
        if !send(&parts, Part::Data(chunk.into())).await {
            return Ok(());
        }
    }
    let end = SnapshotEnd {
        bytes: sent,
        sha256: Bytes::copy_from_slice(&hash.finalize()),
    };
    send(&parts, Part::End(end)).await;
    Ok(())
}

/// Whether the receiver still takes messages. If not, its answer says why.
async fn send(parts: &mpsc::Sender<SnapshotChunk>, part: Part) -> bool {
    let sending = parts.send(SnapshotChunk { part: Some(part) });
    matches!(timeout(PATIENCE, sending).await, Ok(Ok(())))
}
