//! The end of the log's file, where it grows.

use std::{collections::VecDeque, io, sync::Arc};

use redb::StorageBackend;

use super::{
    Head,
    index::{Piece, Pieces, Slot},
    record::Record,
    segment::{
        CHUNK_HEAD_BYTES, CHUNK_LIMIT_BYTES, Header, SECTOR_BYTES, SEGMENT_BYTES, put_chunk,
        sectors_of,
    },
};

/// A segment with something in it.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) slot: Arc<Slot>,
    /// The last entry in it, or a part of it.
    pub(super) last: u64,
    /// The commit at its end goes on in the next one.
    pub(super) continues: bool,
}

/// The segment that comes next, while it is being cleared.
#[derive(Debug)]
struct Spare {
    slot: Arc<Slot>,
    /// So many of its bytes are zeros.
    cleared: usize,
}

/// So many bytes are cleared at once, so that few commits bear that.
const CLEAR_BYTES: usize = 256 * 1024;

static ZEROS: [u8; CLEAR_BYTES] = [0; CLEAR_BYTES];

/// A page of the system's cache.
const PAGE_BYTES: usize = 4096;

/// So many times what is written is cleared, so that the next segment is clear before it is needed.
const CLEAR_AHEAD: usize = 2;

/// Where the file grows, and which parts of it can be used again.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) owner: (u64, u64),
    /// The number of the segment that is being filled.
    pub(super) number: u64,
    /// Where its next chunk begins.
    pub(super) at: usize,
    /// The segments in use, in order; the last is the one being filled.
    pub(super) used: VecDeque<Used>,
    /// Those in which everything is purged.
    pub(super) free: Vec<Arc<Slot>>,
    /// How many segments the file has.
    pub(super) slots: u64,
    /// From this number on, segments have a part of the commit being written.
    pub(super) first_of_commit: u64,
    spare: Option<Spare>,
    /// So many bytes should be cleared.
    owed: usize,
}

impl Tail {
    /// A file without any segment in use.
    pub(super) fn new(owner: (u64, u64), free: Vec<Arc<Slot>>, slots: u64) -> Self {
        Self {
            owner,
            number: 0,
            at: SEGMENT_BYTES,
            used: VecDeque::new(),
            free,
            slots,
            first_of_commit: 0,
            spare: None,
            owed: 0,
        }
    }

    /// Writes a commit's bytes behind the last. `head` is how the log stands before it.
    pub(super) fn write(
        &mut self,
        storage: &dyn StorageBackend,
        bytes: &[u8],
        head: Head,
    ) -> io::Result<Pieces> {
        // In one piece where that is possible.
        let fits = |at: usize| sectors_of(bytes) <= SEGMENT_BYTES.saturating_sub(at);
        if self.at >= SEGMENT_BYTES || (!fits(self.at) && fits(SECTOR_BYTES)) {
            self.begin_segment(storage, head)?;
        }
        self.first_of_commit = self.number;
        let mut pieces = Vec::with_capacity(1);
        let mut rest = bytes;
        loop {
            let room = (SEGMENT_BYTES - self.at)
                .saturating_sub(CHUNK_HEAD_BYTES)
                .min(CHUNK_LIMIT_BYTES);
            let (part, behind) = rest.split_at(room.min(rest.len()));
            let (begins, ends) = (pieces.is_empty(), behind.is_empty());
            let mut chunk = Vec::with_capacity(sectors_of(part));
            put_chunk(&mut chunk, self.number, (begins, ends), part);
            let slot = self.slot()?;
            storage.write(slot.offset(self.at), &chunk)?;
            pieces.push(Piece {
                slot,
                offset: self.at + CHUNK_HEAD_BYTES,
                len: part.len(),
            });
            self.at += chunk.len();
            if ends {
                self.clear_ahead(storage, chunk.len())?;
                return Ok(pieces.into());
            }
            rest = behind;
            if let Some(used) = self.used.back_mut() {
                used.continues = true;
            }
            // What is not on the disk is only ever in the newest segment: see `open`.
            storage.sync_data()?;
            self.begin_segment(storage, head)?;
        }
    }

    fn slot(&self) -> io::Result<Arc<Slot>> {
        let last = self.used.back().map(|used| Arc::clone(&used.slot));
        last.ok_or_else(|| io::Error::other("the log has no segment"))
    }

    /// A part of the file that nobody needs or reads any more, or that behind its end.
    fn take_free(&mut self) -> Arc<Slot> {
        let unread = |slot: &Arc<Slot>| Arc::strong_count(slot) == 1;
        let slot = match self.free.iter().position(unread) {
            Some(place) => self.free.swap_remove(place),
            None => Arc::new(Slot(self.slots)),
        };
        self.slots = self.slots.max(slot.0 + 1);
        slot
    }

    /// Clears a piece of the next segment now and then; that gets to the disk with the sync of the commit.
    fn clear_ahead(&mut self, storage: &dyn StorageBackend, written: usize) -> io::Result<()> {
        self.owed += written.saturating_mul(CLEAR_AHEAD);
        while self.owed >= CLEAR_BYTES {
            self.owed -= CLEAR_BYTES;
            let mut spare = self.take_spare();
            spare.clear(storage, CLEAR_BYTES)?;
            if spare.cleared >= SEGMENT_BYTES {
                self.owed = 0;
            }
            self.spare = Some(spare);
        }
        Ok(())
    }

    fn take_spare(&mut self) -> Spare {
        match self.spare.take() {
            Some(spare) => spare,
            None => Spare {
                slot: self.take_free(),
                cleared: 0,
            },
        }
    }

    /// Begins a segment. All of it has been written with zeros before: so no later sync has to find room for it, and a chunk
    /// that was not written whole can be told from a damaged one.
    pub(super) fn begin_segment(
        &mut self,
        storage: &dyn StorageBackend,
        head: Head,
    ) -> io::Result<()> {
        let mut spare = self.take_spare();
        if spare.cleared < SEGMENT_BYTES {
            while spare.cleared < SEGMENT_BYTES {
                spare.clear(storage, CLEAR_BYTES)?;
            }
            storage.sync_data()?;
        }
        let slot = spare.slot;
        self.owed = 0;
        self.number += 1;
        let header = Header {
            number: self.number,
            owner: self.owner,
            head,
        };
        storage.write(slot.offset(0), &header.encode())?;
        self.at = SECTOR_BYTES;
        self.used.push_back(Used::new(slot));
        Ok(())
    }

    /// What was written last has these records.
    pub(super) fn note(&mut self, records: &[Record]) {
        let entries = records.iter().filter_map(|record| match record {
            Record::Entry { at, .. } => Some(at.index),
            _ => None,
        });
        let Some(last) = entries.max() else { return };
        let touched = usize::try_from(self.number + 1 - self.first_of_commit).unwrap_or(usize::MAX);
        for used in self.used.iter_mut().rev().take(touched) {
            used.last = used.last.max(last);
        }
    }

    /// Segments with nothing but what is purged can be used again, but for the last; those that share a commit together.
    pub(super) fn release(&mut self, purged: u64) {
        loop {
            let together = 1 + self.used.iter().take_while(|used| used.continues).count();
            let is_useless = |used: &Used| used.last <= purged;
            if together >= self.used.len() || !self.used.iter().take(together).all(is_useless) {
                return;
            }
            let released = self.used.drain(..together);
            self.free.extend(released.map(|used| used.slot));
        }
    }
}

impl Spare {
    fn clear(&mut self, storage: &dyn StorageBackend, bytes: usize) -> io::Result<()> {
        let bytes = bytes.min(SEGMENT_BYTES - self.cleared);
        let zeros = ZEROS.get(..bytes).unwrap_or(&ZEROS);
        write_in_pages(storage, self.slot.offset(self.cleared), zeros)?;
        self.cleared += zeros.len();
        Ok(())
    }
}

/// A large piece makes a large page in the system's cache, and that goes to the disk whole whenever a few bytes of it
/// change. So what will be written over is written page by page.
pub(super) fn write_in_pages(
    storage: &dyn StorageBackend,
    offset: u64,
    bytes: &[u8],
) -> io::Result<()> {
    let offsets = (offset..).step_by(PAGE_BYTES);
    for (offset, page) in offsets.zip(bytes.chunks(PAGE_BYTES)) {
        storage.write(offset, page)?;
    }
    Ok(())
}

impl Used {
    pub(super) fn new(slot: Arc<Slot>) -> Self {
        Self {
            slot,
            last: 0,
            continues: false,
        }
    }
}
