//! Rows that are not in the file yet.

use std::sync::Arc;

use bytes::Bytes;
use revkeep_schemas::RowKey;

/// Rows of a chunk. A view shares chunks; the writer copies the last one when it appends to a shared one, so this bounds
/// what a view costs it.
const CHUNK_ROWS: usize = 64;

type Chunk = Vec<(RowKey, Bytes)>;

/// Rows in ascending order, in shared chunks: cheap to append to, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    chunks: Vec<Arc<Chunk>>,
    rows: usize,
    bytes: usize,
}

impl Tail {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn last_key(&self) -> Option<RowKey> {
        self.chunks.last()?.last().map(|(key, _)| *key)
    }

    pub(super) fn push(&mut self, key: RowKey, value: Bytes) {
        self.rows += 1;
        self.bytes += key.encoded_len() + value.len();
        if let Some(chunk) = self.chunks.last_mut()
            && chunk.len() < CHUNK_ROWS
        {
            Arc::make_mut(chunk).push((key, value));
            return;
        }
        let mut chunk = Vec::with_capacity(CHUNK_ROWS);
        chunk.push((key, value));
        self.chunks.push(Arc::new(chunk));
    }

    pub(super) fn get(&self, key: RowKey) -> Option<&Bytes> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk.first().is_some_and(|(first, _)| *first <= key));
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        let found = chunk.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        chunk.get(found).map(|(_, value)| value)
    }

    /// The place of the first row at or above `key`.
    pub(super) fn seek(&self, key: RowKey) -> Place {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(|(last, _)| *last < key));
        let row = self.chunks.get(chunk).map_or(0, |chunk| {
            chunk.partition_point(|(candidate, _)| *candidate < key)
        });
        Place { chunk, row }
    }

    /// The row at a place, which moves on.
    pub(super) fn next(&self, place: &mut Place) -> Option<&(RowKey, Bytes)> {
        loop {
            let chunk = self.chunks.get(place.chunk)?;
            if let Some(row) = chunk.get(place.row) {
                place.row += 1;
                return Some(row);
            }
            place.chunk += 1;
            place.row = 0;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(RowKey, Bytes)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

/// A place in a tail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    chunk: usize,
    row: usize,
}

impl Tail {
    /// Takes the rows up to and with `last` away, and returns them.
    pub(super) fn split_up_to(&mut self, last: RowKey) -> Self {
        if self.last_key().is_none_or(|newest| newest <= last) {
            return std::mem::take(self);
        }
        let (mut front, mut back) = (Self::default(), Self::default());
        for chunk in std::mem::take(&mut self.chunks) {
            let whole = chunk.last().is_some_and(|(newest, _)| *newest <= last);
            if whole {
                front.rows += chunk.len();
                front.bytes += chunk.iter().map(row_bytes).sum::<usize>();
                front.chunks.push(chunk);
                continue;
            }
            for (key, value) in chunk.iter() {
                let side = if *key <= last { &mut front } else { &mut back };
                side.push(*key, value.clone());
            }
        }
        *self = back;
        front
    }
}

fn row_bytes((key, value): &(RowKey, Bytes)) -> usize {
    key.encoded_len() + value.len()
}
