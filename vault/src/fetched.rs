//! Takes what the store gives into a buffer that is used again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{Error as StoreError, GetResult, GetResultPayload};
use tokio::task::spawn_blocking;

use crate::buffers::Buffers;

/// All bytes of an answer. Their buffer goes back to where it came from when the last clone of them is dropped.
///
/// # Errors
/// As the store fails, and when it gives fewer bytes than it said.
pub(crate) async fn take_all(got: GetResult, buffers: &Buffers) -> Result<Bytes, StoreError> {
    let range = got.range;
    let len = range.end.saturating_sub(range.start);
    let mut buffer = buffers.take(len);
    match got.payload {
        GetResultPayload::File(file, _) => {
            let reading = spawn_blocking(move || read_file(file, &range, buffer));
            buffer = reading.await.map_err(failed)?.map_err(failed)?;
        }
        GetResultPayload::Stream(mut parts) => {
            while let Some(part) = parts.try_next().await? {
                buffer.extend_from_slice(&part);
            }
        }
    }
    if buffer.len() as u64 != len {
        let found = format!("{} bytes came of {len}", buffer.len());
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, found)));
    }
    Ok(buffers.lend(buffer))
}

fn read_file(mut file: File, range: &Range<u64>, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start))?;
    }
    let len = range.end.saturating_sub(range.start);
    file.take(len).read_to_end(&mut buffer)?;
    Ok(buffer)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Generic {
        store: "vault",
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

    use super::*;

    #[tokio::test]
    async fn files_and_streams_come_whole_and_in_part_in_one_buffer() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(local), Arc::new(InMemory::new())];
        let all: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let path = Path::from("object");
        let at = |offset: u64| usize::try_from(offset).unwrap();
        for store in stores {
            store.put(&path, all.clone().into()).await.unwrap();
            let buffers = Buffers::default();
            let mut place = None;
            for range in [None, Some(1_000..1_001), Some(0..7), Some(399_999..400_000)] {
                let options = GetOptions {
                    range: range.clone().map(GetRange::Bounded),
                    ..GetOptions::default()
                };
                let got = store.get_opts(&path, options).await.unwrap();
                let bytes = take_all(got, &buffers).await.unwrap();
                let range = range.unwrap_or(0..400_000);
                assert_eq!(bytes, all[at(range.start)..at(range.end)]);
                assert_eq!(*place.get_or_insert(bytes.as_ptr()), bytes.as_ptr());
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_was_said_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let path = Path::from("object");
        store.put(&path, vec![7; 1_000].into()).await.unwrap();
        let mut got = store.get(&path).await.unwrap();
        got.range.end += 1;
        let error = take_all(got, &Buffers::default()).await.unwrap_err();
        assert!(
            error.to_string().contains("1000 bytes came of 1001"),
            "{error}"
        );
    }
}
