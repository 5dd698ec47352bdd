//! Changes of the small buckets that are not in the file yet.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::Bucket;

/// The newest change of every entry touched: its value, or `None` where it was deleted. Views share it; the writer
/// copies it when it changes a shared one.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay(Arc<BTreeMap<(Bucket, Bytes), Option<Bytes>>>);

impl Overlay {
    pub(super) fn set(&mut self, bucket: Bucket, key: Bytes, value: Option<Bytes>) {
        Arc::make_mut(&mut self.0).insert((bucket, key), value);
    }

    /// `None`: untouched. `Some(None)`: deleted.
    #[expect(
        clippy::option_option,
        reason = "a deleted entry is not an untouched one"
    )]
    pub(super) fn get(&self, bucket: Bucket, key: &Bytes) -> Option<Option<Bytes>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(bucket, key.clone())).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Bucket, &Bytes, Option<&Bytes>)> {
        self.0
            .iter()
            .map(|((bucket, key), value)| (*bucket, key, value.as_ref()))
    }

    /// Changes what a reader of the layer below found.
    pub(super) fn overlay(&self, bucket: Bucket, entries: &mut BTreeMap<Bytes, Bytes>) {
        let of_bucket = self
            .0
            .range((bucket, Bytes::new())..)
            .take_while(|((found, _), _)| *found == bucket);
        for ((_, key), value) in of_bucket {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
    }
}

impl Overlay {
    /// Takes newer changes in.
    pub(super) fn absorb(&mut self, newer: Self) {
        if newer.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = newer;
            return;
        }
        let newer = Arc::unwrap_or_clone(newer.0);
        Arc::make_mut(&mut self.0).extend(newer);
    }
}
