//! What a request reads from.

use bytes::Bytes;
use prost::Message as _;
use revkeep_schemas::etcd_api::mvccpb::KeyValue;

use super::{
    Mvcc,
    index::{Change, History, Span},
    write::Staged,
};
use crate::error::{Result, StoreError};

/// From this many rows on, reading them from one view costs less than looking each up.
const VIEW_FROM_ROWS: usize = 32;

/// A moment to read at: for a reader a pinned revision, for the writer the middle of its transaction.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) store: &'a Mvcc,
    /// The revision that answers name and requests without a revision read.
    pub(super) current: i64,
    pub(super) compact: i64,
    /// What the transaction has changed so far, at the revision after that at which it began.
    pub(super) staged: &'a [Staged],
}

impl Moment<'_> {
    /// Visits the keys of a span, without keeping others from the index for long.
    pub(super) fn visit(&self, span: Span<'_>, mut visit: impl FnMut(&[u8], &History)) {
        let mut after: Option<Box<[u8]>> = None;
        loop {
            let index = self.store.index.read();
            after = index.visit(span, after.as_deref(), &mut visit);
            if after.is_none() {
                return;
            }
        }
    }

    /// The rows of a span at a revision, by key; at most `limit` of them, 0 for all. And how many there are.
    pub(super) fn changes(&self, span: Span<'_>, at: i64, limit: usize) -> (Vec<Change>, usize) {
        let mut found = Vec::new();
        let mut total = 0;
        self.visit(span, |_, history| {
            if let Some(change) = history.at(at) {
                total += 1;
                if limit == 0 || found.len() < limit {
                    found.push(change);
                }
            }
        });
        (found, total)
    }

    pub(super) fn count(&self, span: Span<'_>, at: i64) -> usize {
        let mut total = 0;
        self.visit(span, |_, history| {
            total += usize::from(history.at(at).is_some());
        });
        total
    }

    /// The decoded rows.
    pub(super) fn rows(&self, changes: &[Change]) -> Result<Vec<KeyValue>> {
        if changes.len() < VIEW_FROM_ROWS || !self.staged.is_empty() {
            return changes.iter().map(|change| self.row(*change)).collect();
        }
        // In the order of the file, so that each of its pages is needed once.
        let mut places: Vec<_> = changes.iter().copied().zip(0..).collect();
        places.sort_unstable();
        let view = self.store.backend.latest();
        let mut rows = vec![KeyValue::default(); changes.len()];
        for (change, place) in places {
            let row = decode(change, view.row(change.row_key())?)?;
            if let Some(slot) = rows.get_mut::<usize>(place) {
                *slot = row;
            }
        }
        Ok(rows)
    }

    pub(super) fn row(&self, change: Change) -> Result<KeyValue> {
        let staged = self.staged.get(change.sub as usize);
        if let Some(staged) = staged.filter(|staged| staged.change == change) {
            return Ok(staged.kv.clone());
        }
        decode(change, self.store.backend.row(change.row_key())?)
    }

    /// Whether the key is there now.
    pub(super) fn exists(&self, key: &[u8]) -> bool {
        let index = self.store.index.read();
        index
            .get(key)
            .is_some_and(|history| history.at(self.current).is_some())
    }

    /// The key as it is now.
    pub(super) fn now(&self, key: &[u8]) -> Result<Option<KeyValue>> {
        let change = {
            let index = self.store.index.read();
            index.get(key).and_then(|history| history.at(self.current))
        };
        change.map(|change| self.row(change)).transpose()
    }
}

/// Shares the row's bytes.
fn decode(change: Change, row: Option<Bytes>) -> Result<KeyValue> {
    let place = || format!("row {}_{}", change.main, change.sub);
    let row = row.ok_or_else(|| {
        StoreError::damaged(place(), "the index knows it and the state file does not")
    })?;
    KeyValue::decode(row).map_err(|error| StoreError::damaged(place(), error.to_string()))
}

impl Mvcc {
    /// Runs `read` at a pinned revision, 0 for the current one.
    pub(super) fn reading<T>(
        &self,
        revision: i64,
        read: impl FnOnce(Moment<'_>) -> Result<T>,
    ) -> Result<T> {
        let _installing = self.installing.read();
        let pin = self.revisions.pin(revision)?;
        read(Moment {
            store: self,
            current: pin.current,
            compact: pin.compact,
            staged: &[],
        })
    }
}
