//! The newest entries, in memory.

use std::{collections::VecDeque, ops::Range};

use crate::raft::types::{Body, Entry, position};

/// What an entry costs besides its commands.
const ENTRY_BYTES: usize = 96;

/// The newest entries, without a gap, so that applying and replicating them reads no disk.
#[derive(Debug)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    bytes: usize,
    limit_bytes: usize,
}

fn size(entry: &Entry) -> usize {
    match &entry.body {
        Body::Commands(commands) => commands.batch.len() + ENTRY_BYTES,
        _ => ENTRY_BYTES,
    }
}

impl Cache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            limit_bytes,
        }
    }

    fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| position(&entry.id).index)
    }

    /// The index of the newest entry.
    pub(super) fn last(&self) -> Option<u64> {
        self.entries.back().map(|entry| position(&entry.id).index)
    }

    /// Takes entries that follow the last. Older ones make room if they are on the disk, which they are up to `synced`.
    pub(super) fn push(&mut self, new: &[Entry], synced: u64) {
        while self.bytes > self.limit_bytes && self.first().is_some_and(|first| first <= synced) {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
        }
        for entry in new {
            self.bytes += size(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Forgets `from` and all after it.
    pub(super) fn truncate(&mut self, from: u64) {
        while let Some(last) = self.entries.back() {
            if position(&last.id).index < from {
                return;
            }
            self.bytes -= size(last);
            self.entries.pop_back();
        }
    }

    /// Forgets everything up to and with `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while let Some(oldest) = self.entries.front() {
            if position(&oldest.id).index > upto {
                return;
            }
            self.bytes -= size(oldest);
            self.entries.pop_front();
        }
    }

    /// The entries of `range` up to the one with which `limit_bytes` is reached, or `None` when the first is not here.
    pub(super) fn entries(&self, range: &Range<u64>, limit_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.first()?;
        let skip = usize::try_from(range.start.checked_sub(first)?).ok()?;
        if skip >= self.entries.len() {
            return None;
        }
        let mut bytes = 0;
        let found = self
            .entries
            .iter()
            .skip(skip)
            .take_while(|entry| {
                let room = bytes < limit_bytes;
                bytes += size(entry);
                room && position(&entry.id).index < range.end
            })
            .cloned()
            .collect();
        Some(found)
    }
}
