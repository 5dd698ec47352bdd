//! The changes of a commit, as bytes.
//!
//! One after the other: a byte that says what it is, and then, little-endian: an entry's length and the encoded `LogEntry`
//! (1), the index from which the log is cut off (2), the index and term up to which it is purged (3), a vote (4), the index
//! and term up to which it is agreed on (5).

use std::ops::Range;

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use revkeep_schemas::store_api as api;

use super::{
    Change,
    segment::{get_vote, put_vote},
};
use crate::{
    backend::Position,
    raft::{
        types::{Vote, position},
        wire,
    },
};

const ENTRY: u8 = 1;
const TRUNCATE: u8 = 2;
const PURGE: u8 = 3;
const VOTE: u8 = 4;
const COMMITTED: u8 = 5;

/// A change as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Entry {
        at: Position,
        /// Where it is in the commit's bytes.
        bytes: Range<usize>,
        /// Their CRC-32C.
        sum: u32,
    },
    Truncate(u64),
    Purge(Position),
    Vote(Vote),
    Committed(Position),
}

fn put_place(into: &mut Vec<u8>, kind: u8, at: Position) {
    into.put_u8(kind);
    into.put_u64_le(at.index);
    into.put_u64_le(at.term);
}

/// The bytes of the changes, and what is where in them.
pub(super) fn encode<'a>(
    changes: impl IntoIterator<Item = &'a Change>,
) -> Result<(Vec<u8>, Vec<Record>), String> {
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Append(new) => {
                for entry in new {
                    let message = wire::log_entry(entry);
                    let len = message.encoded_len();
                    let told = u32::try_from(len)
                        .map_err(|_| format!("entry {} has {len} bytes", entry.id))?;
                    bytes.reserve(len + 5);
                    bytes.put_u8(ENTRY);
                    bytes.put_u32_le(told);
                    let start = bytes.len();
                    // A vector has room for anything.
                    let _ = message.encode(&mut bytes);
                    let sum = crc_fast::crc32_iscsi(bytes.get(start..).unwrap_or_default());
                    records.push(Record::Entry {
                        at: position(&entry.id),
                        bytes: start..bytes.len(),
                        sum,
                    });
                }
            }
            Change::Truncate(from) => {
                bytes.put_u8(TRUNCATE);
                bytes.put_u64_le(*from);
                records.push(Record::Truncate(*from));
            }
            Change::Purge(upto) => {
                put_place(&mut bytes, PURGE, *upto);
                records.push(Record::Purge(*upto));
            }
            Change::Vote(vote) => {
                bytes.put_u8(VOTE);
                put_vote(&mut bytes, Some(vote));
                records.push(Record::Vote(*vote));
            }
            Change::Committed(upto) => {
                put_place(&mut bytes, COMMITTED, *upto);
                records.push(Record::Committed(*upto));
            }
        }
    }
    Ok((bytes, records))
}

/// What is in a commit's bytes; none if they are no commit's.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let record = match rest.try_get_u8().ok()? {
            ENTRY => {
                let len = rest.try_get_u32_le().ok()? as usize;
                let start = bytes.len() - rest.len();
                let (entry, behind) = rest.split_at_checked(len)?;
                rest = behind;
                // Only where it belongs: what it says is left where it is.
                let message = api::LogEntry::decode(entry).ok()?;
                let at = wire::at(message.at.as_ref()?);
                // Entries are counted from 1, one by one.
                if !(1..u64::MAX).contains(&at.index) {
                    return None;
                }
                Record::Entry {
                    at,
                    bytes: start..start + len,
                    sum: crc_fast::crc32_iscsi(entry),
                }
            }
            TRUNCATE => Record::Truncate(rest.try_get_u64_le().ok()?),
            PURGE => Record::Purge(get_place(&mut rest)?),
            VOTE => Record::Vote(get_vote(&mut rest).ok()??),
            COMMITTED => Record::Committed(get_place(&mut rest)?),
            _ => return None,
        };
        records.push(record);
    }
    Some(records)
}

fn get_place(bytes: &mut &[u8]) -> Option<Position> {
    let index = bytes.try_get_u64_le().ok()?;
    let term = bytes.try_get_u64_le().ok()?;
    // There is always a next one.
    (index < u64::MAX).then(|| Position::new(term, index))
}
