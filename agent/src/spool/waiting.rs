//! What waits, in which order, and how much of it. Pure.

use std::collections::VecDeque;

use revkeep_schemas::Revision;
use revkeep_schemas::names::Uid;
use revkeep_schemas::segment::SealedSegment;

use super::Name;

/// A file takes up whole blocks of the disk.
const BLOCK_BYTES: u64 = 4 << 10;
/// Sealed bytes that may wait in memory alone; what is larger waits there alone.
const MEMORY_BYTES: u64 = 4 << 20;

/// Names one waiting segment for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Revisions that were captured and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Grows with every hole, and when one gets larger at its beginning.
    pub number: u64,
    /// The last revision before it.
    pub kept: Revision,
    /// Segments go up again and there is room: a base heals it now.
    pub open: bool,
}

/// A segment that was not kept.
#[derive(Debug)]
pub struct Refused(pub Box<SealedSegment>);

/// Where the bytes of a segment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In memory, and perhaps in a file too.
    Memory(Box<SealedSegment>),
    /// In the file of this range and suffix.
    File(Revision, Revision, Uid),
}

#[derive(Debug)]
struct Entry {
    ticket: Ticket,
    first: Revision,
    last: Revision,
    uid: Uid,
    cost: u64,
    /// The segment, until it is in a file.
    held: Option<Box<SealedSegment>>,
    /// It is on its way to the store.
    up: bool,
}

impl Entry {
    fn source(&self) -> Source {
        self.held.clone().map_or(
            Source::File(self.first, self.last, self.uid),
            Source::Memory,
        )
    }
}

/// Segments in the order in which they go up. A file is written for each only after all before it have one, so those
/// without a file are always the newest.
#[derive(Debug)]
pub struct Waiting {
    limit: u64,
    entries: VecDeque<Entry>,
    /// Bytes of everything that waits, with what lies in the folder beside it.
    used: u64,
    /// Bytes of those without a file.
    in_memory: u64,
    next_ticket: u64,
    filing: bool,
    hole: Option<Hole>,
    holes: u64,
    /// How much waited when the hole began.
    used_at_hole: u64,
}

/// What a file of so many bytes takes up.
pub(super) const fn cost_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

impl Waiting {
    /// Nothing waits; up to `limit` bytes may, of which `beside` are taken by what is not ours to upload.
    #[must_use]
    pub const fn new(limit: u64, beside: u64) -> Self {
        Self {
            limit,
            entries: VecDeque::new(),
            used: beside,
            in_memory: 0,
            next_ticket: 0,
            filing: false,
            hole: None,
            holes: 0,
            used_at_hole: 0,
        }
    }

    /// So many bytes may wait from now on; what waits already stays.
    pub const fn limit_to(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// A file that an earlier process left, after those that were found before it.
    pub fn found(&mut self, first: Revision, last: Revision, uid: Uid, bytes: u64) {
        self.filing = true;
        self.push(first, last, uid, bytes, None);
    }

    /// All that waits, in the order in which it goes up.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let name = |entry: &Entry| Name {
            first: entry.first,
            last: entry.last,
            uid: entry.uid,
        };
        self.entries.iter().map(name).collect()
    }

    /// Takes a segment when there is room, or when it is the only one.
    ///
    /// # Errors
    /// [`Refused`] when there is none, or a hole is before it: it is discarded, and so is what follows.
    pub fn admit(&mut self, segment: SealedSegment) -> Result<(), Refused> {
        let bytes = segment.bytes.len() as u64;
        let full = self.used.saturating_add(cost_of(bytes)) > self.limit;
        if self.hole.is_some() || (full && !self.entries.is_empty()) {
            self.lose(segment.first);
            return Err(Refused(Box::new(segment)));
        }
        let (first, last, uid) = (segment.first, segment.last, segment.uid);
        self.push(first, last, uid, bytes, Some(Box::new(segment)));
        Ok(())
    }

    fn push(
        &mut self,
        first: Revision,
        last: Revision,
        uid: Uid,
        bytes: u64,
        held: Option<Box<SealedSegment>>,
    ) {
        let cost = cost_of(bytes);
        self.used = self.used.saturating_add(cost);
        if held.is_some() {
            self.in_memory = self.in_memory.saturating_add(cost);
        }
        self.entries.push_back(Entry {
            ticket: Ticket(self.next_ticket),
            first,
            last,
            uid,
            cost,
            held,
            up: false,
        });
        self.next_ticket += 1;
    }

    /// Revisions from here on are not kept.
    fn lose(&mut self, first: Revision) {
        let kept = first.previous();
        if self.hole.is_some_and(|hole| hole.kept <= kept) {
            return;
        }
        if self.hole.is_none() {
            self.used_at_hole = self.used;
        }
        self.holes += 1;
        self.hole = Some(Hole {
            number: self.holes,
            kept,
            open: self.hole.is_some_and(|hole| hole.open),
        });
        self.settle();
    }

    /// From now on until nothing waits, what waits is to be filed.
    pub const fn start_filing(&mut self) {
        self.filing = true;
    }

    /// Whether what waits is to be filed.
    #[must_use]
    pub const fn must_file(&self) -> bool {
        self.filing || self.in_memory > MEMORY_BYTES
    }

    /// The oldest segment without a file.
    #[must_use]
    pub fn to_file(&self) -> Option<(Ticket, SealedSegment)> {
        let entry = self.entries.iter().find(|entry| entry.held.is_some())?;
        let held = entry.held.as_deref()?;
        Some((entry.ticket, held.clone()))
    }

    /// The segment is in a file. False when it waits no longer: the file is to be removed.
    #[must_use]
    pub fn filed(&mut self, ticket: Ticket) -> bool {
        let Some(entry) = self.entry(ticket) else {
            return false;
        };
        let cost = entry.cost;
        if entry.held.take().is_some() {
            self.in_memory = self.in_memory.saturating_sub(cost);
        }
        true
    }

    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        let found = self
            .entries
            .binary_search_by_key(&ticket, |entry| entry.ticket);
        found.ok()
    }

    fn entry(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        let at = self.place_of(ticket)?;
        self.entries.get_mut(at)
    }

    /// The disk takes no more: keeps what memory may hold, what is on its way, and always the oldest, and gives back the
    /// others.
    pub fn refused_by_disk(&mut self) -> Vec<Refused> {
        let mut refused = Vec::new();
        while self.in_memory > MEMORY_BYTES && self.entries.len() > 1 {
            let newest = self.entries.back();
            let Some(entry) = newest
                .is_some_and(|entry| entry.held.is_some() && !entry.up)
                .then(|| self.entries.pop_back())
                .flatten()
            else {
                break;
            };
            self.lose(entry.first);
            self.used = self.used.saturating_sub(entry.cost);
            self.in_memory = self.in_memory.saturating_sub(entry.cost);
            refused.extend(entry.held.map(Refused));
        }
        refused
    }

    /// The segment that goes up next: the oldest that is not on its way.
    #[must_use]
    pub fn head(&self) -> Option<(Ticket, Source)> {
        let entry = self.entries.iter().find(|entry| !entry.up)?;
        Some((entry.ticket, entry.source()))
    }

    /// The segment is on its way.
    pub fn sent(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entry(ticket) {
            entry.up = true;
        }
    }

    /// The segment was on its way, and was not stored.
    pub fn came_back(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entry(ticket) {
            entry.up = false;
        }
    }

    /// The store has the segment. True when its file is to be removed.
    #[must_use]
    pub fn acknowledged(&mut self, ticket: Ticket) -> bool {
        let filed = self.take(ticket).is_some_and(|entry| entry.held.is_none());
        if let Some(hole) = &mut self.hole {
            // Room for some segments first, so that what follows the base is not refused at once.
            let enough = self.used <= self.used_at_hole / 8 * 7;
            hole.open = hole.open || enough || self.entries.is_empty();
        }
        self.settle();
        filed
    }

    /// The file of the segment that was to go up cannot be used, and is gone from the folder.
    pub fn unusable(&mut self, ticket: Ticket) {
        let only = self.hole.is_none();
        let Some(entry) = self.take(ticket) else {
            return;
        };
        self.lose(entry.first);
        if let Some(hole) = self.hole.as_mut().filter(|_| only) {
            // There is room: nothing has to be waited for.
            hole.open = true;
        }
        self.settle();
    }

    /// The segment waits no longer.
    fn take(&mut self, ticket: Ticket) -> Option<Entry> {
        let at = self.place_of(ticket)?;
        let entry = self.entries.remove(at)?;
        self.used = self.used.saturating_sub(entry.cost);
        if entry.held.is_some() {
            self.in_memory = self.in_memory.saturating_sub(entry.cost);
        }
        Some(entry)
    }

    /// Whether nothing waits, nor is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn settle(&mut self) {
        if self.entries.is_empty() {
            self.filing = false;
            if let Some(hole) = &mut self.hole {
                hole.open = true;
            }
        }
    }

    /// What is lost now, until capture has taken a base.
    #[must_use]
    pub const fn hole(&self) -> Option<Hole> {
        self.hole
    }

    /// A base was taken because of this hole: what comes now follows the base. A hole that has changed since stays.
    pub fn healed(&mut self, number: u64) {
        if self.hole.is_some_and(|hole| hole.number <= number) {
            self.hole = None;
        }
    }

    /// How many segments wait, and the bytes of them and of what lies beside them.
    #[must_use]
    pub fn load(&self) -> (usize, u64) {
        (self.entries.len(), self.used)
    }

    /// Whether everything that waits is in files.
    #[must_use]
    pub const fn all_filed(&self) -> bool {
        self.in_memory == 0
    }
}

#[cfg(test)]
mod tests;
