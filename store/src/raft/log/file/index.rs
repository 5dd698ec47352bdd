//! Where each entry of the log is.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{Head, record::Record, segment::SEGMENT_BYTES};
use crate::backend::Position;

/// A segment's place in the file, counted from 0. Who holds it keeps it from being used again.
#[derive(Debug)]
pub(super) struct Slot(pub(super) u64);

impl Slot {
    /// Where a byte of it is in the file.
    pub(super) fn offset(&self, within: usize) -> u64 {
        self.0 * SEGMENT_BYTES as u64 + within as u64
    }
}

/// Some bytes of a commit, and where they are.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) slot: Arc<Slot>,
    /// The first of them, from the beginning of the segment.
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// Where a commit's bytes are: in one piece, unless a segment is too short for them.
pub(super) type Pieces = Arc<[Piece]>;

/// An entry in the file.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) at: Position,
    pieces: Pieces,
    /// Of the commit's bytes.
    bytes: Range<usize>,
    /// Their CRC-32C.
    pub(super) sum: u32,
}

impl Item {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where its bytes are in the file, in order, and how many of them.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, usize)> {
        let mut before = 0;
        self.pieces.iter().filter_map(move |piece| {
            let start = self.bytes.start.max(before);
            let end = self.bytes.end.min(before + piece.len);
            let within = piece.offset + start.saturating_sub(before);
            before += piece.len;
            (start < end).then(|| (piece.slot.offset(within), end - start))
        })
    }
}

/// Where each entry of the log is, and how the log stands.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) head: Head,
    /// Without a gap, ascending.
    items: VecDeque<Item>,
}

impl Index {
    /// What was known is useless: begins again from what a segment says of itself.
    pub(super) fn begin(&mut self, head: Head) {
        self.head = head;
        self.items.clear();
    }

    fn first(&self) -> Option<u64> {
        self.items.front().map(|item| item.at.index)
    }

    fn end(&self) -> Option<u64> {
        self.items
            .back()
            .map(|item| item.at.index.saturating_add(1))
    }

    /// How many entries are before an index.
    fn before(&self, index: u64) -> usize {
        let before = self.first().map_or(0, |first| index.saturating_sub(first));
        usize::try_from(before).map_or(self.items.len(), |before| before.min(self.items.len()))
    }

    fn cut(&mut self, from: u64) {
        self.items.truncate(self.before(from));
    }

    /// Takes up what a commit has changed.
    pub(super) fn apply(&mut self, records: Vec<Record>, pieces: &Pieces) {
        for record in records {
            match record {
                Record::Entry { at, bytes, sum } => {
                    self.cut(at.index);
                    // Behind a gap, after a part of the file that is no longer there. Whether that was in use turns out
                    // in the end.
                    if self.end().is_some_and(|end| end != at.index) {
                        self.items.clear();
                    }
                    self.items.push_back(Item {
                        at,
                        pieces: Arc::clone(pieces),
                        bytes,
                        sum,
                    });
                    self.head.last = at;
                }
                Record::Truncate(from) => {
                    self.cut(from);
                    if self.head.last.index >= from {
                        let last = self.items.back().map(|item| item.at);
                        self.head.last = last.unwrap_or(self.head.purged);
                    }
                }
                Record::Purge(upto) => {
                    let head = &mut self.head;
                    head.purged = head.purged.max(upto);
                    head.last = head.last.max(upto);
                    let purged = self.before(upto.index.saturating_add(1));
                    self.items.drain(..purged);
                }
                Record::Vote(vote) => self.head.vote = Some(vote),
                Record::Committed(upto) => self.head.committed = upto,
            }
        }
    }

    /// Whether every entry is here that was not purged.
    pub(super) fn is_complete(&self) -> bool {
        let Head { purged, last, .. } = self.head;
        match (self.first(), self.end()) {
            (Some(first), Some(end)) => {
                first <= purged.index.saturating_add(1)
                    && purged <= last
                    && end == last.index.saturating_add(1)
            }
            _ => last.index == purged.index,
        }
    }

    /// The entries of a range that are there, up to the one with which `limit_bytes` is reached.
    pub(super) fn range(&self, range: &Range<u64>, limit_bytes: usize) -> Vec<Item> {
        let mut bytes = 0;
        self.items
            .iter()
            .skip(self.before(range.start))
            .take_while(|item| {
                let room = bytes < limit_bytes;
                bytes += item.len();
                room && item.at.index < range.end
            })
            .cloned()
            .collect()
    }
}
