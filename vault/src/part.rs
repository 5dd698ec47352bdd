//! Parts of objects, by range requests: indexes, key filters, single frames, single chunks.
//!
//! Each part is verified by itself before it is used, whether it came from the store or from the local cache.

use bytes::Bytes;
use object_store::GetRange;
use revkeep_schemas::FormatError;
use revkeep_schemas::key_filter::KeyFilter;
use revkeep_schemas::manifest::{ChunkRef, chunk_keys_range, decode_chunk_keys};
use revkeep_schemas::segment::{Frame, SegmentFooter, SegmentIndex, SegmentReader};
use tokio::task::spawn_blocking;

use crate::cache::IndexCache;
use crate::error::VaultError;
use crate::inventory::SegmentEntry;
use crate::layout;
use crate::read::ReadBuffers;
use crate::timeline::Timeline;

/// Bytes of the end of a segment that are fetched first; most indexes are shorter.
const TAIL_BYTES: u64 = 64 * 1024;

impl Timeline {
    /// Fetches the index of a segment alone: times, leases, compactions, checkpoints, frames.
    ///
    /// # Errors
    /// As [`Timeline::segment`].
    pub async fn segment_index(&self, entry: &SegmentEntry) -> Result<SegmentIndex, VaultError> {
        let name = self.segment_name(entry);
        let asked = self.identity(&name);
        let path = name.path();
        let cache = self.cluster.vault.cache.as_deref();
        let label = format!("{}/{path}", self.cluster.vault.id);
        if let Some(parts) = cache.and_then(|cache| cache.get(&label))
            && let Some((size, start, tail)) = split_parts(&parts)
            && size == entry.bytes
            && let Ok(index) = SegmentReader::open_parts(&start, &tail, size, &asked)
        {
            return Ok(index);
        }
        if entry.bytes <= TAIL_BYTES {
            let reader = self.segment(entry).await?;
            keep(cache, &label, || {
                without_frames(reader.bytes()).unwrap_or_default()
            });
            return Ok(reader.into_index());
        }
        let (start, tail, size) = self.segment_parts(entry, &path).await?;
        let index = SegmentReader::open_parts(&start, &tail, size, &asked)
            .map_err(VaultError::format(path.as_str()))?;
        keep(cache, &label, || join_parts(size, &start, &tail));
        Ok(index)
    }

    /// The beginning of a segment as far as its first frame, its end from its index on, and the size of the whole.
    async fn segment_parts(
        &self,
        entry: &SegmentEntry,
        path: &str,
    ) -> Result<(Bytes, Bytes, u64), VaultError> {
        let objects = &self.cluster.vault.objects;
        let tail_start = entry.bytes - TAIL_BYTES;
        let tail = GetRange::Bounded(tail_start..entry.bytes);
        let (tail, size) = objects.get_part(path, tail).await?;
        let footer = SegmentFooter::decode(&tail, size).map_err(VaultError::format(path))?;
        let tail = if let Some(unneeded) = footer.index_offset.checked_sub(tail_start) {
            let unneeded = usize::try_from(unneeded).unwrap_or(tail.len());
            tail.slice(unneeded.min(tail.len())..)
        } else {
            let missing = GetRange::Bounded(footer.index_offset..tail_start);
            let before = objects.get_part(path, missing).await?.0;
            [before, tail].concat().into()
        };
        let start = GetRange::Bounded(0..footer.frames_offset.min(entry.bytes));
        let (start, _) = objects.get_part(path, start).await?;
        Ok((start, tail, size))
    }

    /// Fetches frames of a segment that stand one after the other, in one request, and unpacks each.
    ///
    /// # Errors
    /// `Corrupt` when one is damaged, `NotFound` when the segment is gone.
    pub async fn frames(
        &self,
        entry: &SegmentEntry,
        frames: Vec<Frame>,
    ) -> Result<Vec<Bytes>, VaultError> {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return Ok(Vec::new());
        };
        let offset = first.offset;
        let range = GetRange::Bounded(offset..last.offset.saturating_add(last.stored_len));
        let objects = &self.cluster.vault.objects;
        let (stored, _) = objects.get_part(&entry.name, range).await?;
        let unpacking = spawn_blocking(move || {
            let unpack = |frame: &Frame| {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
                let start = at(frame.offset.saturating_sub(offset));
                let end = start.saturating_add(at(frame.stored_len));
                let stored = stored.get(start..end).ok_or_else(|| {
                    FormatError::corrupt("segment", frame.offset, "a frame", "the end")
                })?;
                let mut plain = Vec::new();
                SegmentReader::decode_frame(frame, stored, &mut plain)?;
                Ok(plain.into())
            };
            frames.iter().map(unpack).collect::<Result<Vec<_>, _>>()
        });
        unpacking
            .await
            .map_err(VaultError::task("unpack frames"))?
            .map_err(VaultError::format(&entry.name))
    }

    /// The encoded rows of one chunk of a base, verified.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged, `NotFound` when it is gone.
    pub async fn chunk(&self, chunk: ChunkRef) -> Result<Bytes, VaultError> {
        Ok(self.chunk_rows(chunk, ReadBuffers::default()).await?.bytes)
    }

    /// The key filter of a chunk; `None` where it has none that can be used: then the chunk has to be read, and is verified.
    ///
    /// # Errors
    /// `NotFound` when the chunk is gone; as the store fails.
    pub async fn chunk_keys(&self, chunk: &ChunkRef) -> Result<Option<KeyFilter>, VaultError> {
        let Some(range) = chunk_keys_range(chunk) else {
            return Ok(None);
        };
        let path = layout::chunk_path(&self.cluster.name, chunk.into());
        let cache = self.cluster.vault.cache.as_deref();
        let label = format!("{}/{path}", self.cluster.vault.id);
        if let Some(filter) = cache.and_then(|cache| cache.get(&label))
            && let Ok(filter) = decode_chunk_keys(&filter, &chunk.hash)
        {
            return Ok(filter);
        }
        let objects = &self.cluster.vault.objects;
        let (bytes, size) = objects.get_part(&path, GetRange::Bounded(range)).await?;
        if size != chunk.stored_bytes {
            // Written anew by another version of this program: where the filter is now, the manifest cannot know.
            return Ok(None);
        }
        match decode_chunk_keys(&bytes, &chunk.hash) {
            Ok(filter) => {
                keep(cache, &label, || bytes.to_vec());
                Ok(filter)
            }
            Err(error) => {
                tracing::warn!(chunk = path, %error, "a key filter cannot be used: the whole chunk is read");
                Ok(None)
            }
        }
    }
}

fn keep(cache: Option<&IndexCache>, label: &str, bytes: impl FnOnce() -> Vec<u8>) {
    if let Some(cache) = cache {
        cache.put(label, &bytes());
    }
}

/// The size of the object and of the first part, each 8 bytes, and both parts.
fn join_parts(size: u64, start: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut all = size.to_le_bytes().to_vec();
    all.extend_from_slice(&(start.len() as u64).to_le_bytes());
    all.extend_from_slice(start);
    all.extend_from_slice(tail);
    all
}

/// The parts of a whole segment without its frames.
fn without_frames(object: &Bytes) -> Option<Vec<u8>> {
    let size = object.len() as u64;
    let footer = SegmentFooter::decode(object, size).ok()?;
    let start = object.get(..usize::try_from(footer.frames_offset).ok()?)?;
    let tail = object.get(usize::try_from(footer.index_offset).ok()?..)?;
    Some(join_parts(size, start, tail))
}

fn split_parts(all: &Bytes) -> Option<(u64, Bytes, Bytes)> {
    let (size, rest) = all.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let start = all.slice(16..16_usize.checked_add(len).filter(|_| len <= rest.len())?);
    let tail = all.slice(16 + len..);
    Some((u64::from_le_bytes(*size), start, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were() {
        for (start, tail) in [(&b"ab"[..], &b"cde"[..]), (b"", b"x"), (b"whole", b"")] {
            let joined = Bytes::from(join_parts(7, start, tail));
            let expected = (7, Bytes::from(start), Bytes::from(tail));
            assert_eq!(split_parts(&joined), Some(expected));
            assert_eq!(split_parts(&joined.slice(..12)), None);
        }
        let mut long = join_parts(7, b"ab", b"");
        long[8] = 200;
        assert_eq!(split_parts(&long.into()), None);
    }
}
