//! Takes a base: says so, cuts rows into chunks, uploads those that the vault does not have, and the manifest last.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_schemas::manifest::{
    BaseFacts, BaseManifest, ChunkHash, ChunkRef, Chunker, ChunkerOptions, PlainChunk,
    chunk_keys_bytes, decode_chunk, encode_chunk,
};
use revkeep_schemas::{Revision, RowSource};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::error::{ErrorKind, VaultError};
use crate::fail_point;
use crate::layout::{self, ChunkName};
use crate::objects::Created;
use crate::priority::come_after_others;
use crate::timeline::Timeline;

/// Chunks that are packed and uploaded at once. With one that waits and one that is cut, memory stays below
/// `(PARALLEL_CHUNKS + 2)` times twice a chunk: 4 MiB on average, 16 MiB at most.
const PARALLEL_CHUNKS: usize = 3;
/// The zstd level of chunks.
const ZSTD_LEVEL: i32 = 3;

impl Timeline {
    /// Stores a base. Rows are read on a blocking thread, in order; chunks that `previous`, an earlier base of this
    /// cluster, lists are not uploaded again. The base is there when this returns, and not before.
    ///
    /// # Errors
    /// `Internal` when the rows are out of order, `Retry` when the store failed; then no base was stored and the call
    /// can be repeated: chunks that arrived are found again.
    pub async fn write_base<S>(
        &self,
        facts: BaseFacts,
        rows: S,
        previous: Option<&BaseManifest>,
    ) -> Result<BaseManifest, VaultError>
    where
        S: RowSource + Send + 'static,
        S::Error: std::error::Error + Send + Sync + 'static,
    {
        self.write_base_with(facts, rows, previous, ChunkerOptions::default())
            .await
    }

    /// [`Timeline::write_base`] with other sizes of chunks.
    ///
    /// # Errors
    /// As [`Timeline::write_base`].
    pub async fn write_base_with<S>(
        &self,
        facts: BaseFacts,
        rows: S,
        previous: Option<&BaseManifest>,
        options: ChunkerOptions,
    ) -> Result<BaseManifest, VaultError>
    where
        S: RowSource + Send + 'static,
        S::Error: std::error::Error + Send + Sync + 'static,
    {
        let mut known: HashMap<ChunkHash, ChunkRef> = previous
            .into_iter()
            .flat_map(|base| base.chunks.iter().map(|chunk| (chunk.hash, *chunk)))
            .collect();
        let intent = self
            .begin_base(facts.revision, previous, &mut known)
            .await?;
        let (sender, receiver) = mpsc::channel(1);
        let to = facts.revision;
        let cutting = spawn_blocking(move || cut(rows, to, options, &sender));
        let chunks: Result<Vec<_>, _> = stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        })
        .map(|chunk| self.store_chunk(chunk, intent.round, &known))
        .buffered(PARALLEL_CHUNKS)
        .try_collect()
        .await;
        // When an upload fails its error counts: cutting then stops at a closed channel.
        let cut = cutting.await.map_err(VaultError::task("cut a base"))?;
        let chunks = chunks?;
        cut?;
        let manifest = BaseManifest::of_chunks(facts, chunks);
        fail_point::reached("base.manifest-putting");
        self.finish_base(&intent, &manifest).await?;
        fail_point::reached("base.manifest-put");
        Ok(manifest)
    }

    async fn store_chunk(
        &self,
        chunk: PlainChunk,
        round: u32,
        known: &HashMap<ChunkHash, ChunkRef>,
    ) -> Result<ChunkRef, VaultError> {
        let (hash, chunk) = spawn_blocking(move || (chunk.hash(), chunk))
            .await
            .map_err(VaultError::task("hash a chunk"))?;
        if let Some(known) = known.get(&hash) {
            return Ok(*known);
        }
        let vault = &self.cluster.vault;
        let named = ChunkName { hash, round };
        let name = layout::chunk_path(&self.cluster.name, named);
        let asked = layout::chunk_identity(
            vault.id,
            &self.cluster.name,
            named,
            (chunk.first, chunk.last),
        );
        let mut stored = ChunkRef {
            hash,
            round,
            first: chunk.first,
            last: chunk.last,
            rows: chunk.rows,
            plain_bytes: chunk.plain.len() as u64,
            stored_bytes: 0,
            digest: chunk.digest,
            keys_bytes: 0,
        };
        let writer = vault.writer.clone();
        let identity = asked.clone();
        let packing = spawn_blocking(move || {
            come_after_others();
            encode_chunk(&identity, &writer, &chunk.plain, ZSTD_LEVEL)
        });
        let object = packing
            .await
            .map_err(VaultError::task("pack a chunk"))?
            .map_err(VaultError::format(name.as_str()))?;
        stored.stored_bytes = object.len() as u64;
        stored.keys_bytes = chunk_keys_bytes(&object);
        fail_point::reached("base.chunk-putting");
        let created = vault.objects.create(&name, object.clone()).await;
        fail_point::reached("base.chunk-put");
        let failed = match created {
            Ok(Created::New) => return Ok(stored),
            Ok(Created::Exists) => None,
            Err(error) if error.kind() == ErrorKind::Retry => Some(error),
            Err(error) => return Err(error),
        };
        // Another base has it, or the answer was lost: only a sound chunk counts.
        let there = match (vault.objects.find(&name).await, failed) {
            (Ok(Some(there)), _) => there,
            (_, Some(error)) | (Err(error), None) => return Err(error),
            (Ok(None), None) => {
                return Err(VaultError::new(
                    ErrorKind::Retry,
                    format!("put {name}: a conflict in the store; try again"),
                ));
            }
        };
        let bytes = there.len() as u64;
        let checking =
            spawn_blocking(move || decode_chunk(&there, &asked).map(|_| chunk_keys_bytes(&there)));
        match checking.await.map_err(VaultError::task("check a chunk"))? {
            // The one right content of this name is at hand, so a damaged chunk is mended.
            Err(error) => {
                tracing::warn!(chunk = name, %error, "a damaged chunk is written anew");
                vault.objects.replace(&name, object).await?;
            }
            Ok(keys_bytes) => {
                stored.stored_bytes = bytes;
                stored.keys_bytes = keys_bytes;
            }
        }
        Ok(stored)
    }
}

/// Reads all rows and sends chunks, until the end or until nobody takes them.
fn cut<S>(
    mut rows: S,
    to: Revision,
    options: ChunkerOptions,
    chunks: &mpsc::Sender<PlainChunk>,
) -> Result<(), VaultError>
where
    S: RowSource,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    let mut chunker = Chunker::new(options);
    let mut last = None;
    loop {
        let row = rows.next_row().map_err(|error| {
            VaultError::new(
                ErrorKind::Corrupt,
                "read the rows of a base: take another snapshot",
            )
            .with_source(error)
        })?;
        let Some(row) = row else { break };
        if last.is_some_and(|last| row.key <= last) || row.key.main > to {
            return Err(VaultError::new(
                ErrorKind::Internal,
                format!(
                    "write a base at {to}: row {}.{} is out of order",
                    row.key.main, row.key.sub
                ),
            ));
        }
        last = Some(row.key);
        let chunk = chunker
            .push(&row)
            .map_err(VaultError::format("cut a base"))?;
        if let Some(chunk) = chunk
            && chunks.blocking_send(chunk).is_err()
        {
            return Ok(());
        }
    }
    if let Some(chunk) = chunker.finish() {
        // A closed channel means that an upload failed, and that error is told.
        let _closed = chunks.blocking_send(chunk);
    }
    Ok(())
}
