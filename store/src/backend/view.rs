//! Reading at one moment.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use redb::AccessGuard;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};

use super::{
    Bucket, Position,
    database::{Flushed, ReadRange},
    overlay::Overlay,
    tail::{Place, Tail},
};
use crate::error::{Result, StoreError};

/// Below every row.
pub(crate) const FIRST_ROW: RowKey = RowKey {
    main: Revision::ZERO,
    sub: 0,
    tombstone: false,
};
/// Above every row.
pub(super) const LAST_ROW: RowKey = RowKey {
    main: Revision::MAX,
    sub: i64::MAX,
    tombstone: true,
};

/// The state at one moment; nothing that happens later changes it. It keeps pages of the file from being reused, so it
/// should not be held longer than needed.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) position: Position,
    pub(super) raft_state: Option<Bytes>,
    pub(super) flushed: Arc<Flushed>,
    /// Older first.
    pub(super) tails: [Tail; 2],
    /// Older first.
    pub(super) overlays: [Overlay; 3],
    /// The last row that belongs to it.
    pub(super) last: RowKey,
}

impl View {
    /// What the file holds, without what is in memory.
    pub(super) fn of_file(flushed: Arc<Flushed>, position: Position) -> Self {
        Self {
            position,
            raft_state: None,
            flushed,
            tails: Default::default(),
            overlays: Default::default(),
            last: LAST_ROW,
        }
    }

    /// The last entry of the log that it contains.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Raft's own state as of [`View::position`].
    pub fn raft_state(&self) -> Option<Bytes> {
        self.raft_state.clone()
    }

    /// The value of one row.
    pub fn row(&self, key: RowKey) -> Result<Option<Bytes>> {
        if key > self.last {
            return Ok(None);
        }
        for tail in self.tails.iter().rev() {
            if let Some(value) = tail.get(key) {
                return Ok(Some(value.clone()));
            }
        }
        self.flushed.row(key)
    }

    /// The rows from `from` to `to`, with both, in ascending order.
    pub fn rows(&self, from: RowKey, to: RowKey) -> Result<RowCursor> {
        Ok(RowCursor {
            range: Some(self.flushed.rows_from(from)?),
            current: None,
            places: [0, 1].map(|tail| self.tails.get(tail).map(|tail| tail.seek(from))),
            view: self.clone(),
            last: to.min(self.last),
        })
    }

    /// All rows.
    pub fn all_rows(&self) -> Result<RowCursor> {
        self.rows(FIRST_ROW, LAST_ROW)
    }

    /// The value of one entry.
    pub fn get(&self, bucket: Bucket, key: &Bytes) -> Result<Option<Bytes>> {
        for overlay in self.overlays.iter().rev() {
            if let Some(found) = overlay.get(bucket, key) {
                return Ok(found);
            }
        }
        self.flushed.get(bucket, key)
    }

    /// The entries of a bucket. Those of [`Bucket::Meta`] tell this view's own position.
    pub fn entries(&self, bucket: Bucket) -> Result<BTreeMap<Bytes, Bytes>> {
        let mut entries: BTreeMap<_, _> = self.flushed.entries(bucket)?.into_iter().collect();
        for overlay in &self.overlays {
            overlay.overlay(bucket, &mut entries);
        }
        if bucket == Bucket::Meta && self.position != Position::default() {
            entries.extend(self.position.entries());
        }
        Ok(entries)
    }
}

/// Rows of a view, one at a time.
pub struct RowCursor {
    view: View,
    range: Option<ReadRange>,
    current: Option<(RowKey, AccessGuard<'static, &'static [u8]>)>,
    places: [Option<Place>; 2],
    last: RowKey,
}

impl std::fmt::Debug for RowCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowCursor")
            .field("view", &self.view)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl RowCursor {
    /// The next row of the file becomes the current one.
    fn advance_file(&mut self) -> Result<bool> {
        self.current = None;
        let Some(range) = &mut self.range else {
            return Ok(false);
        };
        let Some(entry) = range.next() else {
            self.range = None;
            return Ok(false);
        };
        let flushed = &self.view.flushed;
        let (key, value) = entry.map_err(|error| flushed.read_failed(error))?;
        let key = RowKey::decode(key.value()).map_err(|error| flushed.corrupt_row(&error))?;
        if key > self.last {
            self.range = None;
            return Ok(false);
        }
        self.current = Some((key, value));
        Ok(true)
    }

    fn next_of_tails(&mut self) -> Option<&(RowKey, Bytes)> {
        for (tail, place) in self.view.tails.iter().zip(&mut self.places) {
            let Some(at) = place else { continue };
            match tail.next(at) {
                Some(row) if row.0 <= self.last => return Some(row),
                Some(_) => return None,
                None => *place = None,
            }
        }
        None
    }

    /// The next row, owned: shared with the tail where it is still in memory, copied from the file otherwise.
    pub fn next_owned(&mut self) -> Result<Option<(RowKey, Bytes)>> {
        if self.advance_file()? {
            let current = self.current.as_ref();
            return Ok(current.map(|(key, value)| (*key, Bytes::copy_from_slice(value.value()))));
        }
        Ok(self.next_of_tails().cloned())
    }
}

impl RowSource for RowCursor {
    type Error = StoreError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        if self.advance_file()? {
            let current = self.current.as_ref();
            return Ok(current.map(|(key, value)| Row {
                key: *key,
                value: value.value(),
            }));
        }
        Ok(self
            .next_of_tails()
            .map(|(key, value)| Row { key: *key, value }))
    }
}
