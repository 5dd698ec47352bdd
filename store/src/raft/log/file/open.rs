//! Opening the log's file.
//!
//! What a kill can leave: the segments in order, the newest of which ends with a commit that is there in part, and what is
//! left of segments that were no longer needed. Whatever else is found was changed by somebody else, or by the disk, and is refused:
//! the head of a segment tells how the log stood when it began, so it is noticed when something before is missed.

use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::{
    Head, LOG_FILE, LogFile, damaged,
    index::{Index, Piece, Pieces, Slot},
    record,
    segment::{
        CHUNK_HEAD_BYTES, Found, Header, SECTOR_BYTES, SEGMENT_BYTES, chunk, has_chunk, is_zeros,
        sectors_of,
    },
    tail::{Tail, Used, write_in_pages},
};
use crate::{Result, StoreError, backend::Disk};

/// A segment that has a header.
struct Segment {
    header: Header,
    slot: Arc<Slot>,
}

/// A commit of which some chunks have been read.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// The segment in which it begins.
    number: u64,
}

/// What is read of the segments.
struct Replay<'a> {
    storage: &'a dyn StorageBackend,
    name: &'a str,
    index: Index,
    partial: Option<Partial>,
    /// What is known so far is useless, or nothing: the next segment says how things stood when it began.
    begins_anew: bool,
}

impl LogFile {
    /// Opens the log of a member, made if it is absent. Refuses another member's.
    pub(in crate::raft) fn open(
        disk: &dyn Disk,
        cluster_id: u64,
        member_id: u64,
    ) -> Result<(Self, Head)> {
        let name = disk.describe(LOG_FILE);
        let failed = |action: &str, error| StoreError::disk(format!("{action} {name}"), error);
        refuse_formers(disk)?;
        let storage = disk.open(LOG_FILE).map_err(|error| failed("open", error))?;
        let owner = (cluster_id, member_id);
        let (used, free, slots) = segments(&*storage, &name, owner)?;
        nothing_without_head(&*storage, &name, used.last(), &free)?;
        let mut replay = Replay {
            storage: &*storage,
            name: &name,
            index: Index::default(),
            partial: None,
            begins_anew: true,
        };
        let mut tail = Tail::new(owner, free, slots);
        let newest = used.len().saturating_sub(1);
        for (place, segment) in used.into_iter().enumerate() {
            tail.number = segment.header.number;
            tail.used.push_back(Used::new(Arc::clone(&segment.slot)));
            tail.at = replay.segment(&segment, place == newest, &mut tail)?;
        }
        let is_whole = tail.used.is_empty() || !replay.begins_anew;
        let index = replay.index;
        if !is_whole || !index.is_complete() {
            let Head { purged, last, .. } = index.head;
            let what = format!("not every entry after {purged} and up to {last} is there");
            return Err(damaged(&name, &what));
        }
        if tail.used.is_empty() {
            tail.begin_segment(&*storage, Head::default())
                .and_then(|()| storage.sync_data())
                .map_err(|error| failed("begin", error))?;
        }
        tail.release(index.head.purged.index);
        let head = index.head;
        let file = Self {
            storage,
            name,
            index: Mutex::new(index),
            tail: Mutex::new(tail),
        };
        Ok((file, head))
    }
}

/// What the log was kept in before it had a format of its own, by no release.
const FORMER_FILE: &str = "log.redb";

fn refuse_formers(disk: &dyn Disk) -> Result<()> {
    let name = disk.describe(FORMER_FILE);
    let exists = disk
        .exists(FORMER_FILE)
        .map_err(|error| StoreError::disk(format!("look for {name}"), error))?;
    if !exists {
        return Ok(());
    }
    Err(StoreError::damaged(
        &name,
        "this is the log of an earlier program, which this one does not read. Start the earlier one on this \
         directory, take `etcdctl snapshot save` from it, and restore that into a new directory"
            .to_owned(),
    ))
}

/// The segments in use, in order, the others, and how many there are.
fn segments(
    storage: &dyn StorageBackend,
    name: &str,
    owner: (u64, u64),
) -> Result<(Vec<Segment>, Vec<Arc<Slot>>, u64)> {
    let len = storage
        .len()
        .map_err(|error| StoreError::disk(format!("read {name}"), error))?;
    let slots = len.div_ceil(SEGMENT_BYTES as u64);
    let (mut found, mut free) = (Vec::new(), Vec::new());
    for slot in (0..slots).map(|number| Arc::new(Slot(number))) {
        let sector = read(storage, name, &slot, SECTOR_BYTES)?;
        let header = Header::decode(&sector).map_err(|what| damaged(name, &what))?;
        match header {
            Some(header) if header.owner != owner => {
                return Err(of_another(name, header.owner, owner));
            }
            Some(header) => found.push(Segment { header, slot }),
            None => free.push(slot),
        }
    }
    found.sort_by_key(|segment| segment.header.number);
    let unlike =
        |pair: &[Segment]| matches!(pair, [one, next] if one.header.number == next.header.number);
    if found.windows(2).any(unlike) {
        return Err(damaged(name, "two segments have the same number"));
    }
    // Before a number that is missing are segments that were no longer needed when that one was used again.
    let gap = found.windows(2).rposition(
        |pair| matches!(pair, [one, next] if one.header.number + 1 != next.header.number),
    );
    let stale = found.drain(..gap.map_or(0, |gap| gap + 1));
    free.extend(stale.map(|segment| segment.slot));
    Ok((found, free, slots))
}

/// A segment whose head is not there was about to be the next one when the power went: of that only one commit was written,
/// and for a first one nothing.
fn nothing_without_head(
    storage: &dyn StorageBackend,
    name: &str,
    newest: Option<&Segment>,
    free: &[Arc<Slot>],
) -> Result<()> {
    for slot in free {
        let bytes = read(storage, name, slot, SEGMENT_BYTES)?;
        let (head, rest) = bytes.split_at(SECTOR_BYTES.min(bytes.len()));
        if !is_zeros(head) {
            // No longer needed, and not cleared yet.
            continue;
        }
        let is_lost = match newest {
            None => !is_zeros(rest),
            Some(newest) => {
                let number = newest.header.number.saturating_add(1);
                let unfinished = match chunk(number, rest) {
                    Found::Chunk { bytes, .. } => sectors_of(bytes),
                    Found::Torn(written) => written,
                    Found::End | Found::Damaged => 0,
                };
                has_chunk(number, rest.get(unfinished..).unwrap_or_default())
            }
        };
        if is_lost {
            let offset = slot.offset(0);
            let what = format!("the head of the segment at byte {offset} is not there");
            return Err(damaged(name, &what));
        }
    }
    Ok(())
}

fn of_another(name: &str, found: (u64, u64), owner: (u64, u64)) -> StoreError {
    StoreError::damaged(
        name,
        format!(
            "belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}: \
             give each member its own data directory",
            found.1, found.0, owner.1, owner.0
        ),
    )
}

/// The first bytes of a segment. What lies behind the end of the file are zeros.
fn read(storage: &dyn StorageBackend, name: &str, slot: &Slot, len: usize) -> Result<Vec<u8>> {
    let failed = |error| StoreError::disk(format!("read {name}"), error);
    let mut bytes = vec![0; len];
    let end = storage.len().map_err(failed)?;
    let there = end.saturating_sub(slot.offset(0));
    let there = usize::try_from(there).unwrap_or(usize::MAX).min(len);
    if let Some(there) = bytes.get_mut(..there) {
        storage.read(slot.offset(0), there).map_err(failed)?;
    }
    Ok(bytes)
}

impl Replay<'_> {
    /// Takes up what is in a segment. Returns where the next chunk of it would be.
    fn segment(&mut self, segment: &Segment, is_newest: bool, tail: &mut Tail) -> Result<usize> {
        let Segment { header, slot } = segment;
        let bytes = read(self.storage, self.name, slot, SEGMENT_BYTES)?;
        // What was read before this one is not all there where it comes to something else: begun to be cleared, as above.
        if std::mem::take(&mut self.begins_anew) || self.index.head != header.head {
            self.partial = None;
            self.index.begin(header.head);
        }
        let (mut at, mut end) = (SECTOR_BYTES, SECTOR_BYTES);
        loop {
            let sectors = bytes.get(at..).unwrap_or_default();
            match chunk(header.number, sectors) {
                Found::Chunk {
                    bytes,
                    begins,
                    ends,
                } => {
                    let piece = Piece {
                        slot: Arc::clone(slot),
                        offset: at + CHUNK_HEAD_BYTES,
                        len: bytes.len(),
                    };
                    at += sectors_of(bytes);
                    self.chunk(header.number, (begins, ends), bytes, piece, tail)?;
                    if ends {
                        end = at;
                    }
                }
                Found::End if is_newest => {
                    self.nothing_behind(segment, at + SECTOR_BYTES, &bytes)?;
                    break;
                }
                Found::Torn(written) if is_newest => {
                    self.nothing_behind(segment, at + written, &bytes)?;
                    break;
                }
                Found::End => break,
                Found::Torn(_) | Found::Damaged if !is_newest => {
                    // It may be one that was being cleared to be used again: then nothing of it is missed in the end.
                    self.partial = None;
                    self.begins_anew = true;
                    return Ok(SEGMENT_BYTES);
                }
                Found::Torn(_) | Found::Damaged => return Err(self.damaged(slot, at)),
            }
        }
        if is_newest {
            self.settle(slot, end, bytes)?;
        } else if let (true, Some(used)) = (self.partial.is_some(), tail.used.back_mut()) {
            used.continues = true;
        }
        Ok(end)
    }

    fn chunk(
        &mut self,
        number: u64,
        (begins, ends): (bool, bool),
        bytes: &[u8],
        piece: Piece,
        tail: &mut Tail,
    ) -> Result<()> {
        if begins {
            // One that was not ended was never reported as saved.
            self.partial = Some(Partial {
                number,
                ..Partial::default()
            });
        }
        let Some(partial) = &mut self.partial else {
            // The end of something whose beginning is no longer there: what it changed is in the next header.
            self.begins_anew = true;
            return Ok(());
        };
        partial.bytes.extend_from_slice(bytes);
        partial.pieces.push(piece);
        if !ends {
            return Ok(());
        }
        let Some(whole) = self.partial.take() else {
            return Ok(());
        };
        let records = record::decode(&whole.bytes)
            .ok_or_else(|| damaged(self.name, "a commit cannot be read"))?;
        tail.first_of_commit = whole.number;
        tail.note(&records);
        let pieces: Pieces = whole.pieces.into();
        self.index.apply(records, &pieces);
        Ok(())
    }

    /// Only the last commit may be there in part, because the one before was on the disk when it began: so no whole chunk
    /// is behind it.
    fn nothing_behind(&self, segment: &Segment, from: usize, bytes: &[u8]) -> Result<()> {
        let rest = bytes.get(from..).unwrap_or_default();
        if has_chunk(segment.header.number, rest) {
            return Err(self.damaged(&segment.slot, from));
        }
        Ok(())
    }

    /// Writes the newest segment once more as it was understood, to the disk: what was read may be nowhere but in the
    /// system's memory, after a kill or a sync that failed. Behind the last commit are zeros then: parts of one that was torn
    /// would be taken for the next one's.
    fn settle(&self, slot: &Slot, end: usize, mut bytes: Vec<u8>) -> Result<()> {
        bytes.truncate(end);
        bytes.resize(SEGMENT_BYTES, 0);
        write_in_pages(self.storage, slot.offset(0), &bytes)
            .and_then(|()| self.storage.sync_data())
            .map_err(|error| StoreError::disk(format!("write the end of {}", self.name), error))
    }

    fn damaged(&self, slot: &Slot, at: usize) -> StoreError {
        let offset = slot.offset(at);
        damaged(self.name, &format!("what is at byte {offset} is damaged"))
    }
}
