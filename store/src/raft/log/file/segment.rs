//! The pieces of the log's file, as bytes.
//!
//! The file is cut into segments of [`SEGMENT_BYTES`], and these into sectors of [`SECTOR_BYTES`]: a header in the first of a
//! segment, chunks of commits in the others, zeros behind them. `schemas/formats/store.md` has every byte.

use bytes::{Buf as _, BufMut as _, TryGetError};
use crc_fast::{CrcAlgorithm, Digest};

use super::Head;
use crate::{backend::Position, raft::types::Vote};

/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// How long a segment is: few enough bytes for many to be in use and to be purged one by one.
pub(super) const SEGMENT_BYTES: usize = 2 * 1024 * 1024;

/// What is before a chunk's bytes.
pub(super) const CHUNK_HEAD_BYTES: usize = 15;

/// The most bytes of one chunk.
pub(super) const CHUNK_LIMIT_BYTES: usize = SEGMENT_BYTES - SECTOR_BYTES - CHUNK_HEAD_BYTES;

const MAGIC: [u8; 7] = *b"rvklog\0";
const VERSION: u8 = 2;
const BEGINS: u8 = 1;
const ENDS: u8 = 2;
const HAS_CANDIDATE: u8 = 1;
const IS_ELECTED: u8 = 2;

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Header {
    /// Its number in the order of the log.
    pub(super) number: u64,
    /// The cluster and the member.
    pub(super) owner: (u64, u64),
    /// How things stood when it began.
    pub(super) head: Head,
}

fn checksum(number: u64, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&number.to_le_bytes());
    digest.update(bytes);
    // A 32-bit checksum.
    u32::try_from(digest.finalize()).unwrap_or_default()
}

impl Header {
    /// Its sector.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Head {
            vote,
            purged,
            committed,
            last,
        } = self.head;
        let mut sector = Vec::with_capacity(SECTOR_BYTES);
        sector.put_slice(&MAGIC);
        sector.put_u8(VERSION);
        sector.put_u64_le(self.number);
        sector.put_u64_le(self.owner.0);
        sector.put_u64_le(self.owner.1);
        for place in [purged, committed, last] {
            sector.put_u64_le(place.index);
            sector.put_u64_le(place.term);
        }
        put_vote(&mut sector, vote.as_ref());
        let sum = checksum(self.number, &sector);
        sector.put_u32_le(sum);
        sector.resize(SECTOR_BYTES, 0);
        sector
    }

    /// The header in a segment's first sector: none where there are only zeros, an error where there is something else.
    pub(super) fn decode(sector: &[u8]) -> Result<Option<Self>, String> {
        if is_zeros(sector) {
            return Ok(None);
        }
        let damaged = || "the header of a segment is damaged".to_owned();
        let fields = sector.strip_prefix(&MAGIC).ok_or_else(damaged)?;
        let (version, fields) = fields.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(format!(
                "it has format {version}, or is damaged: this program reads format {VERSION}"
            ));
        }
        let header = Self::read(fields).ok_or_else(damaged)?;
        // Numbers are counted from 1, one by one, and there is always a next one.
        let Head { purged, last, .. } = header.head;
        let counted = (1..u64::MAX).contains(&header.number)
            && [purged, last].iter().all(|place| place.index < u64::MAX);
        if header.encode() != sector || !counted {
            return Err(damaged());
        }
        Ok(Some(header))
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut next = || bytes.try_get_u64_le().ok();
        let (number, owner) = (next()?, (next()?, next()?));
        let mut place = || {
            let index = next()?;
            Some(Position::new(next()?, index))
        };
        let (purged, committed, last) = (place()?, place()?, place()?);
        let vote = get_vote(&mut bytes).ok()?;
        Some(Self {
            number,
            owner,
            head: Head {
                vote,
                purged,
                committed,
                last,
            },
        })
    }
}

/// A vote, or that there is none, in 18 bytes.
pub(super) fn put_vote(into: &mut Vec<u8>, vote: Option<&Vote>) {
    let id = vote.map(|vote| vote.leader_id).unwrap_or_default();
    let elected = vote.is_some_and(|vote| vote.committed);
    into.put_u64_le(id.term);
    into.put_u64_le(id.voted_for.unwrap_or_default());
    into.put_u8(u8::from(vote.is_some()));
    let candidate = id.voted_for.map_or(0, |_| HAS_CANDIDATE);
    into.put_u8(candidate | if elected { IS_ELECTED } else { 0 });
}

/// Fails where the bytes do not suffice.
pub(super) fn get_vote(bytes: &mut &[u8]) -> Result<Option<Vote>, TryGetError> {
    let (term, candidate) = (bytes.try_get_u64_le()?, bytes.try_get_u64_le()?);
    let (there, flags) = (bytes.try_get_u8()?, bytes.try_get_u8()?);
    if there == 0 {
        return Ok(None);
    }
    let mut vote = Vote::default();
    vote.leader_id.term = term;
    vote.leader_id.voted_for = (flags & HAS_CANDIDATE != 0).then_some(candidate);
    vote.committed = flags & IS_ELECTED != 0;
    Ok(Some(vote))
}

/// Writes a chunk behind what is in `into`, up to the end of its last sector.
pub(super) fn put_chunk(
    into: &mut Vec<u8>,
    number: u64,
    (begins, ends): (bool, bool),
    bytes: &[u8],
) {
    let flags = if begins { BEGINS } else { 0 } | if ends { ENDS } else { 0 };
    let mut head = Vec::with_capacity(CHUNK_HEAD_BYTES);
    // Shorter than a segment.
    head.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    head.put_u32_le(checksum(number, bytes));
    head.put_u8(flags);
    // The first sector has the head, and no segment has as many sectors as this can count.
    let others = bytes.get(SECTOR_BYTES - CHUNK_HEAD_BYTES..);
    let empty = empty_sectors(others.unwrap_or_default());
    head.put_u16_le(u16::try_from(empty).unwrap_or(u16::MAX));
    into.put_slice(&head);
    into.put_u32_le(checksum(number, &head));
    into.put_slice(bytes);
    into.resize(into.len().next_multiple_of(SECTOR_BYTES), 0);
}

fn empty_sectors(bytes: &[u8]) -> usize {
    bytes
        .chunks(SECTOR_BYTES)
        .filter(|sector| is_zeros(sector))
        .count()
}

/// What is found where a chunk may be.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Chunk {
        bytes: &'a [u8],
        begins: bool,
        ends: bool,
    },
    /// Nothing was written here.
    End,
    /// Some of its sectors were not written: the power went before it was reported as saved. They are so many bytes.
    Torn(usize),
    /// Was written whole, and is something else now.
    Damaged,
}

/// Looks at what begins with the first of these sectors, the last of which ends the segment.
pub(super) fn chunk(number: u64, sectors: &[u8]) -> Found<'_> {
    if sectors.get(..SECTOR_BYTES).is_none_or(is_zeros) {
        return Found::End;
    }
    let Some(head) = ChunkHead::read(sectors) else {
        return Found::Damaged;
    };
    let bytes = sectors
        .get(CHUNK_HEAD_BYTES..)
        .and_then(|rest| rest.get(..head.len));
    // The head is in one sector, and that is whole.
    let (true, Some(bytes)) = (head.sum_of_head == checksum(number, head.summed), bytes) else {
        return Found::Damaged;
    };
    if head.flags & !(BEGINS | ENDS) != 0 {
        return Found::Damaged;
    }
    if checksum(number, bytes) == head.sum {
        return Found::Chunk {
            bytes,
            begins: head.flags & BEGINS != 0,
            ends: head.flags & ENDS != 0,
        };
    }
    // As etcd tells one from the other (etcd, `server/storage/wal/decoder.go`, `isTornEntry`), but for sectors that were
    // to be empty.
    let written = sectors.get(..sectors_of(bytes)).unwrap_or(sectors);
    if empty_sectors(written) > usize::from(head.empty) {
        Found::Torn(written.len())
    } else {
        Found::Damaged
    }
}

/// Whether one of these sectors begins a whole chunk.
pub(super) fn has_chunk(number: u64, sectors: &[u8]) -> bool {
    (0..sectors.len()).step_by(SECTOR_BYTES).any(|at| {
        let rest = sectors.get(at..).unwrap_or_default();
        matches!(chunk(number, rest), Found::Chunk { .. })
    })
}

/// The head of a chunk.
struct ChunkHead<'a> {
    len: usize,
    sum: u32,
    flags: u8,
    /// Sectors behind the first in which there is nothing but zeros.
    empty: u16,
    summed: &'a [u8],
    sum_of_head: u32,
}

impl<'a> ChunkHead<'a> {
    fn read(sectors: &'a [u8]) -> Option<Self> {
        let mut bytes = sectors;
        Some(Self {
            len: bytes.try_get_u32_le().ok()? as usize,
            sum: bytes.try_get_u32_le().ok()?,
            flags: bytes.try_get_u8().ok()?,
            empty: bytes.try_get_u16_le().ok()?,
            summed: sectors.get(..CHUNK_HEAD_BYTES - 4)?,
            sum_of_head: bytes.try_get_u32_le().ok()?,
        })
    }
}

/// What a chunk with these bytes takes in the file.
pub(super) fn sectors_of(bytes: &[u8]) -> usize {
    (CHUNK_HEAD_BYTES + bytes.len()).next_multiple_of(SECTOR_BYTES)
}

/// Whether there is nothing.
pub(super) fn is_zeros(bytes: &[u8]) -> bool {
    const ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];
    bytes
        .chunks(SECTOR_BYTES)
        .all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}
