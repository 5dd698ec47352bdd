//! The keys in order.

use std::{collections::BTreeMap, ops::Bound};

use super::{Change, History, Span};

/// How many keys are visited before others get their turn at the lock.
pub(crate) const KEYS_AT_ONCE: usize = 2048;

/// Every key that has rows.
#[derive(Debug, Default)]
pub(crate) struct KeyTree {
    keys: BTreeMap<Box<[u8]>, History>,
}

impl KeyTree {
    /// A tree of keys, in any order.
    pub(crate) fn from_keys(keys: impl IntoIterator<Item = (Box<[u8]>, History)>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&History> {
        self.keys.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut History> {
        self.keys.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: &[u8], history: History) {
        self.keys.insert(key.into(), history);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    /// Visits at most [`KEYS_AT_ONCE`] keys of a span, after `after`. Returns the key to go on after, or `None` when
    /// that was all.
    pub(crate) fn visit(
        &self,
        span: Span<'_>,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &History),
    ) -> Option<Box<[u8]>> {
        if let (Span::One(key), None) = (span, after) {
            if let Some(history) = self.keys.get(key) {
                visit(key, history);
            }
            return None;
        }
        let range = self.keys.range::<[u8], _>(span.bounds(after)?);
        for (visited, (key, history)) in (1..).zip(range) {
            visit(key, history);
            if visited == KEYS_AT_ONCE {
                return Some(key.clone());
            }
        }
        None
    }

    /// As [`KeyTree::visit`], to change them.
    pub(crate) fn visit_mut(
        &mut self,
        span: Span<'_>,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &mut History),
    ) -> Option<Box<[u8]>> {
        let range = self.keys.range_mut::<[u8], _>(span.bounds(after)?);
        for (visited, (key, history)) in (1..).zip(range) {
            visit(key, history);
            if visited == KEYS_AT_ONCE {
                return Some(key.clone());
            }
        }
        None
    }

    /// Compacts at most [`KEYS_AT_ONCE`] keys after `after`. Returns the key to go on after, or `None` when all are done.
    pub(crate) fn compact(
        &mut self,
        at: i64,
        after: Option<&[u8]>,
        kept: &mut Vec<Change>,
    ) -> Option<Box<[u8]>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.keys.range_mut::<[u8], _>((from, Bound::Unbounded));
        let mut gone = Vec::new();
        let mut last = None;
        for (visited, (key, history)) in (1..).zip(range) {
            if !history.compact(at, kept) {
                gone.push(key.clone());
            }
            if visited == KEYS_AT_ONCE {
                last = Some(key.clone());
                break;
            }
        }
        for key in gone {
            self.keys.remove(&key);
        }
        last
    }
}
