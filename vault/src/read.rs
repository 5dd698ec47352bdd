//! Streams rows out of chunks and segments: fetched in parallel, verified, in order, in bounded memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::manifest::{ChunkRef, unpack_chunk_into};
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::segment::{Frame, SegmentReader};
use revkeep_schemas::{FormatError, Revision};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

use crate::buffers::Buffers;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::SegmentEntry;
use crate::layout;
use crate::timeline::Timeline;

/// Memory is counted in units of so many bytes.
const UNIT_BYTES: u64 = 64 * 1024;

/// One piece of what is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A chunk of a base, whole: whoever wants less of it cuts it.
    Chunk(ChunkRef),
    /// The revisions `[from, to]` of a segment.
    Segment {
        /// Which one.
        entry: SegmentEntry,
        /// The first revision that is wanted.
        from: Revision,
        /// The last revision that is wanted.
        to: Revision,
    },
}

/// How much may be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Objects that are fetched and unpacked at once, and frames of a segment that are unpacked at once.
    pub parallel: usize,
    /// Bytes of objects and rows that are held before the consumer takes them. A piece that is larger than this is
    /// held alone. Frames of segments, of about a MiB each, come on top while their rows are unpacked.
    pub memory_bytes: u64,
    /// Chunks and frames that wait unpacked for the consumer, on top of that. With one, a consumer that is as fast as the
    /// reading finds none at times.
    pub ready: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            parallel: 4,
            memory_bytes: 24 * 1024 * 1024,
            ready: 1,
        }
    }
}

/// Rows in order, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainRows {
    /// The encoded rows; see [`EncodedRows`].
    pub bytes: Bytes,
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// Of a chunk, the digest of its rows, computed from them; it is the one that the manifest says.
    pub chunk_digest: Option<RowDigest>,
}

/// Buffers of one reading, which go round: those of what is fetched, and those of what it unpacks to, which are larger.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadBuffers {
    stored: Buffers,
    plain: Buffers,
}

/// What was fetched of one piece.
enum Fetched {
    Rows(PlainRows),
    Segment {
        name: String,
        reader: Arc<SegmentReader>,
        range: (Revision, Revision),
    },
}

impl Timeline {
    /// Reads pieces in the order given. The channel ends after the last piece or after the first error; dropping the
    /// receiver stops the reading.
    pub fn read_rows(
        &self,
        pieces: Vec<Piece>,
        options: ReadOptions,
    ) -> mpsc::Receiver<Result<PlainRows, VaultError>> {
        let (sender, receiver) = mpsc::channel(options.ready.max(1));
        let timeline = self.clone();
        // Its owner is the receiver: it ends when that is dropped.
        tokio::spawn(async move {
            let failed = timeline.send_rows(pieces, options, &sender).await;
            if let Err(error) = failed {
                let _gone = sender.send(Err(error)).await;
            }
        });
        receiver
    }

    async fn send_rows(
        &self,
        pieces: Vec<Piece>,
        options: ReadOptions,
        sender: &mpsc::Sender<Result<PlainRows, VaultError>>,
    ) -> Result<(), VaultError> {
        let units = u32::try_from(options.memory_bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .max(1);
        let buffers = ReadBuffers::default();
        let parallel = options.parallel.max(1);
        let memory = Arc::new(Semaphore::new(units as usize));
        let fetched = stream::iter(pieces)
            .then(|piece| {
                let memory = memory.clone();
                async move {
                    let need = piece_bytes(&piece).div_ceil(UNIT_BYTES).max(1);
                    let need = u32::try_from(need).unwrap_or(u32::MAX).min(units);
                    (piece, memory.acquire_many_owned(need).await)
                }
            })
            .map(|(piece, permit)| {
                // A task of its own goes on from fetching to unpacking while the consumer is busy and nobody asks for more.
                let fetching = tokio::spawn(self.clone().fetch(piece, buffers.clone()));
                let fetching = AbortOnDropHandle::new(fetching);
                async move {
                    let permit = permit.map_err(|error| {
                        VaultError::new(ErrorKind::Internal, "read rows: memory").with_source(error)
                    })?;
                    let fetched = fetching.await.map_err(VaultError::task("read rows"))??;
                    Ok::<_, VaultError>((fetched, permit))
                }
            })
            .buffered(parallel);
        let mut fetched = std::pin::pin!(fetched);
        while let Some(next) = fetched.next().await {
            let (next, permit) = next?;
            let taken = match next {
                Fetched::Rows(rows) => sender.send(Ok(rows)).await.is_ok(),
                Fetched::Segment {
                    name,
                    reader,
                    range,
                } => {
                    let unpacked = unpack_segment(&name, &reader, range, &buffers.plain);
                    forward(unpacked.buffered(parallel), sender).await?
                }
            };
            drop(permit);
            if !taken {
                break;
            }
        }
        Ok(())
    }

    async fn fetch(self, piece: Piece, buffers: ReadBuffers) -> Result<Fetched, VaultError> {
        match piece {
            Piece::Chunk(chunk) => self.chunk_rows(chunk, buffers).await.map(Fetched::Rows),
            Piece::Segment { entry, from, to } => Ok(Fetched::Segment {
                reader: Arc::new(self.segment_in(&entry, &buffers.stored).await?),
                range: (from, to),
                name: entry.name,
            }),
        }
    }

    /// The rows of a chunk. What is stored is proved by its SHA-256, and what it unpacks to by the digest that the manifest
    /// says of these rows. The SHA-256 of the rows, their name, is left to a verification: it would take longer than both.
    pub(crate) async fn chunk_rows(
        &self,
        chunk: ChunkRef,
        buffers: ReadBuffers,
    ) -> Result<PlainRows, VaultError> {
        let vault = &self.cluster.vault;
        let name = layout::chunk_path(&self.cluster.name, (&chunk).into());
        let range = (chunk.first, chunk.last);
        let asked = layout::chunk_identity(vault.id, &self.cluster.name, (&chunk).into(), range);
        let object = vault.objects.get_in(&name, &buffers.stored).await?;
        let unpacking = spawn_blocking(move || {
            let mut plain = buffers.plain.take(chunk.plain_bytes);
            unpack_chunk_into(&object, &asked, &mut plain)?;
            let mut digest = RowDigest::default();
            for row in EncodedRows::new(&plain) {
                digest.add(&row?);
            }
            if digest != chunk.digest {
                return Err(FormatError::corrupt(
                    format!("chunk {}", asked.name),
                    0,
                    format!(
                        "rows with the digest {}, as the manifest says",
                        chunk.digest
                    ),
                    digest.to_string(),
                ));
            }
            Ok(PlainRows {
                bytes: buffers.plain.lend(plain),
                first: chunk.first,
                last: chunk.last,
                chunk_digest: Some(digest),
            })
        });
        unpacking
            .await
            .map_err(VaultError::task("unpack a chunk"))?
            .map_err(VaultError::format(name))
    }
}

/// Bytes that a piece holds from when it is fetched until the consumer has it.
fn piece_bytes(piece: &Piece) -> u64 {
    match piece {
        Piece::Chunk(chunk) => chunk.plain_bytes.saturating_add(chunk.stored_bytes),
        Piece::Segment { entry, .. } => entry.bytes,
    }
}

/// Unpacks the frames of a segment in the range: one future each, which does its work once it is asked for.
fn unpack_segment<'a>(
    name: &'a str,
    reader: &Arc<SegmentReader>,
    range: (Revision, Revision),
    buffers: &Buffers,
) -> impl Stream<Item = impl Future<Output = Result<PlainRows, VaultError>> + use<'a>> + use<'a> {
    let frames: Vec<_> = reader
        .index()
        .frames_of(range.0, range.1)
        .cloned()
        .collect();
    let (reader, buffers) = (reader.clone(), buffers.clone());
    stream::iter(frames).map(move |frame| {
        let (reader, buffers) = (reader.clone(), buffers.clone());
        async move {
            spawn_blocking(move || frame_rows(&reader, &frame, range, &buffers))
                .await
                .map_err(VaultError::task("unpack a frame"))?
                .map_err(VaultError::format(name))
        }
    })
}

/// Hands rows on. Says whether the consumer still listens.
async fn forward(
    rows: impl Stream<Item = Result<PlainRows, VaultError>>,
    sender: &mpsc::Sender<Result<PlainRows, VaultError>>,
) -> Result<bool, VaultError> {
    let mut rows = std::pin::pin!(rows);
    while let Some(rows) = rows.next().await {
        if sender.send(Ok(rows?)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows of one frame that lie in the range.
fn frame_rows(
    reader: &SegmentReader,
    frame: &Frame,
    range: (Revision, Revision),
    buffers: &Buffers,
) -> Result<PlainRows, FormatError> {
    let (first, last) = (frame.first.max(range.0), frame.last.min(range.1));
    let mut plain = buffers.take(frame.plain_len);
    reader.frame_into(frame, &mut plain)?;
    let plain = buffers.lend(plain);
    let whole = (first, last) == (frame.first, frame.last);
    Ok(PlainRows {
        bytes: if whole {
            plain
        } else {
            cut(&plain, first, last)?
        },
        first,
        last,
        chunk_digest: None,
    })
}

/// The rows of `[first, last]` alone.
fn cut(plain: &Bytes, first: Revision, last: Revision) -> Result<Bytes, FormatError> {
    let mut rows = EncodedRows::new(plain);
    let (mut start, mut end) = (0, 0);
    while let Some(row) = rows.next() {
        let revision = row?.key.main;
        if revision < first {
            start = rows.offset();
        }
        if revision <= last {
            end = rows.offset();
        }
    }
    Ok(plain.slice(start.min(end)..end))
}
