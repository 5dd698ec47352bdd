//! A snapshot on the local disk: drained at wire speed, because the member keeps a read transaction open meanwhile, and
//! checked against the SHA-256 at its end before a row of it is used.
//!
//! The stream is the database file followed by 32 bytes of SHA-256 over it. A stream that breaks off carries no error,
//! so the length is checked as well: the file is a multiple of 512 bytes (etcd,
//! `server/etcdserver/api/v3rpc/maintenance.go`).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use revkeep_vault::fail_point;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use crate::AgentError;
use crate::source::Member;

/// How the names of spooled snapshots begin; what a killed agent left is removed by this.
const PREFIX: &str = "revkeep-snapshot-";
const TRAILER_BYTES: usize = 32;
/// What is gathered before it goes to the disk's thread, in bytes; at most [`BLOCKS`] of them wait.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCKS: usize = 8;

/// A checked snapshot. The file goes when this is dropped.
#[derive(Debug)]
pub struct Spooled {
    file: NamedTempFile,
    /// The length of the database file, without the trailer.
    pub bytes: u64,
}

impl Spooled {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Removes the snapshots that an agent left here when it was killed. One directory belongs to one agent.
pub fn clean(directory: &Path) -> Result<(), AgentError> {
    let failed = || AgentError::io(format!("clean {}", directory.display()));
    for entry in std::fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_file(entry.path()).map_err(failed())?;
        }
    }
    Ok(())
}

/// Takes a snapshot from the member into `directory`.
pub async fn spool(member: &Member, directory: PathBuf) -> Result<Spooled, AgentError> {
    let (blocks, incoming) = mpsc::channel::<Vec<u8>>(BLOCKS);
    let writer = tokio::task::spawn_blocking(move || write(&directory, incoming));
    let received = receive(member, blocks).await;
    let written = writer
        .await
        .map_err(|error| AgentError::Internal(format!("the snapshot's writer: {error}")))?;
    // A full disk shows as a closed channel to the receiver: its cause is the writer's error.
    let (file, bytes, trailer) = written?;
    received?;
    match trailer {
        Trailer::Good => Ok(Spooled { file, bytes }),
        Trailer::Wrong => Err(unusable(
            member,
            "its SHA-256 does not match: ask for another one",
        )),
        Trailer::Missing => Err(unusable(
            member,
            "it broke off before its SHA-256: ask for another one",
        )),
    }
}

async fn receive(member: &Member, blocks: mpsc::Sender<Vec<u8>>) -> Result<(), AgentError> {
    let closed = || AgentError::Internal("the snapshot's writer stopped".to_owned());
    let mut stream = member.snapshot().await?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while let Some(message) = member.snapshot_message(&mut stream).await? {
        fail_point::reached("snapshot.receiving");
        block.extend_from_slice(message.blob());
        if block.len() >= BLOCK_BYTES {
            let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES));
            blocks.send(full).await.map_err(|_| closed())?;
        }
    }
    blocks.send(block).await.map_err(|_| closed())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trailer {
    Good,
    Wrong,
    Missing,
}

fn write(
    directory: &Path,
    mut incoming: mpsc::Receiver<Vec<u8>>,
) -> Result<(NamedTempFile, u64, Trailer), AgentError> {
    let failed = || AgentError::io(format!("write a snapshot to {}", directory.display()));
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(".db")
        .tempfile_in(directory)
        .map_err(failed())?;
    let mut check = TrailerCheck::default();
    while let Some(block) = incoming.blocking_recv() {
        fail_point::disk().map_err(failed())?;
        file.write_all(&block).map_err(failed())?;
        check.update(&block);
    }
    let (bytes, trailer) = check.finish();
    flush(file.as_file_mut()).map_err(failed())?;
    Ok((file, bytes, trailer))
}

/// The file is read back by this process only and taken again after a crash, so it needs no fsync.
fn flush(file: &mut File) -> std::io::Result<()> {
    file.flush()
}

/// Hashes all but the last 32 bytes of what it is given.
#[derive(Default)]
struct TrailerCheck {
    hash: Sha256,
    tail: Vec<u8>,
    bytes: u64,
}

impl TrailerCheck {
    fn update(&mut self, block: &[u8]) {
        self.bytes += block.len() as u64;
        self.tail.extend_from_slice(block);
        let ready = self.tail.len().saturating_sub(TRAILER_BYTES);
        self.hash.update(self.tail.get(..ready).unwrap_or_default());
        self.tail.drain(..ready);
    }

    fn finish(self) -> (u64, Trailer) {
        let body = self.bytes.saturating_sub(TRAILER_BYTES as u64);
        let trailer = if body == 0 || !body.is_multiple_of(512) {
            Trailer::Missing
        } else if self.hash.finalize().as_slice() == self.tail {
            Trailer::Good
        } else {
            Trailer::Wrong
        };
        (body, trailer)
    }
}

fn unusable(member: &Member, reason: &str) -> AgentError {
    AgentError::Snapshot {
        endpoint: member.endpoint().to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &[u8], block: usize) -> Trailer {
        let mut check = TrailerCheck::default();
        stream.chunks(block).for_each(|block| check.update(block));
        check.finish().1
    }

    #[test]
    fn only_a_whole_and_unchanged_stream_passes() {
        let body = vec![7; 1024];
        let mut stream = body.clone();
        stream.extend_from_slice(&Sha256::digest(&body));
        for block in [1, 31, 32, 33, 500, 5000] {
            assert_eq!(check(&stream, block), Trailer::Good);
            assert_eq!(check(&stream[..1024], block), Trailer::Missing);
            assert_eq!(check(&stream[..1000], block), Trailer::Missing);
            assert_eq!(check(&[], block), Trailer::Missing);
            // Cut at a place where the length looks right.
            assert_eq!(check(&stream[..544], block), Trailer::Wrong);
            let mut flipped = stream.clone();
            flipped[100] ^= 1;
            assert_eq!(check(&flipped, block), Trailer::Wrong);
        }
    }
}
