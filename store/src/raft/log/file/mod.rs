//! The log's file.
//!
//! One file, `log`, of segments that are filled one after the other and used again once everything in them is purged: so a
//! commit is one write, and a sync that finds nothing but those bytes to bring to the disk. The parts are, from the outside:
//! [`LogFile`], its tail that writes, its index that knows where each entry is, records, and chunks in segments. Byte by byte:
//! `schemas/formats/store.md`.
//!
//! A file of our own, where the state beside it is in redb, because a log in redb was what a lone client waited for: a commit
//! changes a page of entries, the pages above it, the roots and the header. Three members with one client, on two cores, in turn with
//! etcd 3.5 on the same disk, the members' other writes and syncs counted in, for each put of 256 bytes:
//!
//! | | writes | KiB written | processor | puts a second |
//! |---|---|---|---|---|
//! | etcd 3.5 | 14 | 16 | 1759 us | 508 |
//! | the log in redb | 48 | 110 | 2009 us | 447 |
//! | this log | 24 | 16 | 1431 us | 601 |
//!
//! With 100 clients it made 4800 puts of 3800 in a second, at 137 us of processor time each in the place of 183.

mod index;
mod open;
mod record;
mod segment;
mod tail;

#[cfg(test)]
mod tests;

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message as _;
use redb::StorageBackend;
use revkeep_schemas::store_api as api;

use self::{
    index::{Index, Item},
    tail::Tail,
};
use crate::{
    Result, StoreError,
    backend::Position,
    raft::{
        types::{Entry, Vote, position},
        wire,
    },
};

/// The log's name in the member's folder.
pub(in crate::raft) const LOG_FILE: &str = "log";

/// Something to be made durable.
#[derive(Debug)]
pub(in crate::raft) enum Change {
    /// Entries that follow the last.
    Append(Vec<Entry>),
    /// Drops this index and all after it.
    Truncate(u64),
    /// Drops everything up to this place.
    Purge(Position),
    /// A vote given.
    Vote(Vote),
    /// Entries up to here are agreed on. Not urgent: rides along with the next commit.
    Committed(Position),
}

/// How the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::raft) struct Head {
    pub(in crate::raft) vote: Option<Vote>,
    pub(in crate::raft) purged: Position,
    pub(in crate::raft) committed: Position,
    /// The last entry, or what was purged if there is none.
    pub(in crate::raft) last: Position,
}

/// The open file.
pub(in crate::raft) struct LogFile {
    storage: Box<dyn StorageBackend>,
    name: String,
    index: Mutex<Index>,
    tail: Mutex<Tail>,
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFile")
            .field("name", &self.name)
            .field("head", &self.index.lock().head)
            .finish_non_exhaustive()
    }
}

impl LogFile {
    /// Makes the changes durable, in order, all or none of them.
    ///
    /// One call at a time; after an error the file must not be written any more.
    pub(in crate::raft) fn commit<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<()> {
        let (bytes, records) = record::encode(changes).map_err(StoreError::internal)?;
        let head = self.index.lock().head;
        let mut tail = self.tail.lock();
        let pieces = tail
            .write(&*self.storage, &bytes, head)
            .and_then(|pieces| self.storage.sync_data().map(|()| pieces))
            .map_err(|error| self.failed("write", error))?;
        tail.note(&records);
        let mut index = self.index.lock();
        index.apply(records, &pieces);
        tail.release(index.head.purged.index);
        Ok(())
    }

    /// Reads entries, ascending, from `range`, as many as there are; stops after the one with which `limit_bytes` is
    /// reached.
    pub(in crate::raft) fn entries(
        &self,
        range: Range<u64>,
        limit_bytes: usize,
    ) -> Result<Vec<Entry>> {
        // Not under the lock: what an item points to stays as it is while it is held.
        let items = self.index.lock().range(&range, limit_bytes);
        items.iter().map(|item| self.entry(item)).collect()
    }

    fn entry(&self, item: &Item) -> Result<Entry> {
        let mut bytes = BytesMut::zeroed(item.len());
        let mut rest = &mut bytes[..];
        for (offset, len) in item.places() {
            let (part, behind) = rest
                .split_at_mut_checked(len)
                .ok_or_else(|| self.damaged(&format!("entry {} is not where it was", item.at)))?;
            self.storage
                .read(offset, part)
                .map_err(|error| self.failed("read", error))?;
            rest = behind;
        }
        let bytes: Bytes = bytes.freeze();
        if crc_fast::crc32_iscsi(&bytes) != item.sum {
            return Err(self.damaged(&format!("entry {}: its checksum is wrong", item.at)));
        }
        let message = api::LogEntry::decode(bytes)
            .map_err(|error| self.damaged(&format!("entry {}: {error}", item.at)))?;
        let entry = wire::entry(message)?;
        if position(&entry.id) != item.at {
            return Err(self.damaged(&format!("entry {} says it is {}", item.at, entry.id)));
        }
        Ok(entry)
    }

    fn damaged(&self, what: &str) -> StoreError {
        damaged(&self.name, what)
    }

    fn failed(&self, action: &str, error: std::io::Error) -> StoreError {
        StoreError::disk(format!("{action} {}", self.name), error)
    }
}

fn damaged(name: &str, what: &str) -> StoreError {
    StoreError::damaged(
        name,
        format!("{what}; restore the member from its peers or from a backup"),
    )
}
