//! The log's file.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use revkeep_schemas::store_api as api;

use crate::{
    Result, StoreError,
    backend::{Disk, Position, Watched},
    raft::{
        types::{Entry, Vote},
        wire,
    },
};

/// The log's name in the member's folder.
pub(in crate::raft) const LOG_FILE: &str = "log.redb";

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const OWNER: &str = "owner";
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";

/// Memory for pages: the newest entries are read from the cache above, so little is needed.
const PAGES_BYTES: usize = 16 * 1024 * 1024;

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

/// What the file said when it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::raft) struct Head {
    pub(in crate::raft) vote: Option<Vote>,
    pub(in crate::raft) purged: Position,
    pub(in crate::raft) committed: Position,
    /// The last entry, or what was purged if there is none.
    pub(in crate::raft) last: Position,
}

/// The open file.
#[derive(Debug)]
pub(in crate::raft) struct LogFile {
    database: Database,
    name: String,
}

impl LogFile {
    /// Opens the log of a member, made if it is absent. Refuses another member's.
    pub(in crate::raft) fn open(
        disk: &dyn Disk,
        cluster_id: u64,
        member_id: u64,
    ) -> Result<(Self, Head)> {
        let name = disk.describe(LOG_FILE);
        let storage = disk
            .open(LOG_FILE)
            .map_err(|error| StoreError::disk(format!("open {name}"), error))?;
        let database = Database::builder()
            .set_cache_size(PAGES_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(Watched {
                file: storage,
                watcher: (),
            })
            .map_err(|error| StoreError::disk(format!("open {name}"), error))?;
        let file = Self { database, name };
        file.claim(&api::LogOwner {
            cluster_id,
            member_id,
        })?;
        let head = file.head()?;
        Ok((file, head))
    }

    /// Writes the owner into a new file; compares it in an old one.
    fn claim(&self, owner: &api::LogOwner) -> Result<()> {
        let write = self
            .database
            .begin_write()
            .map_err(|error| self.failed("begin to write", error))?;
        let found = {
            // Both tables, so that readers find them.
            write
                .open_table(ENTRIES)
                .map_err(|error| self.failed("open table entries of", error))?;
            let mut meta = write
                .open_table(META)
                .map_err(|error| self.failed("open table meta of", error))?;
            let found = meta
                .get(OWNER)
                .map_err(|error| self.failed("read the owner of", error))?
                .map(|bytes| bytes.value().to_vec());
            if found.is_none() {
                meta.insert(OWNER, owner.encode_to_vec().as_slice())
                    .map_err(|error| self.failed("write the owner of", error))?;
            }
            found
        };
        let Some(found) = found else {
            return write
                .commit()
                .map_err(|error| self.failed("commit to", error));
        };
        let found: api::LogOwner = self.decode(OWNER, &found)?;
        if found != *owner {
            return Err(StoreError::damaged(
                &self.name,
                format!(
                    "belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}: \
                     give each member its own data directory",
                    found.member_id, found.cluster_id, owner.member_id, owner.cluster_id
                ),
            ));
        }
        Ok(())
    }

    fn head(&self) -> Result<Head> {
        let read = self.read()?;
        let meta = read
            .open_table(META)
            .map_err(|error| self.failed("open table meta of", error))?;
        let value = |key: &str| -> Result<Option<Vec<u8>>> {
            let value = meta
                .get(key)
                .map_err(|error| self.failed("read table meta of", error))?;
            Ok(value.map(|value| value.value().to_vec()))
        };
        let place = |key: &str| -> Result<Position> {
            let Some(bytes) = value(key)? else {
                return Ok(Position::default());
            };
            Ok(wire::at(&self.decode::<api::LogPosition>(key, &bytes)?))
        };
        let vote = match value(VOTE)? {
            Some(bytes) => Some(wire::vote(Some(&self.decode(VOTE, &bytes)?))),
            None => None,
        };
        let purged = place(PURGED)?;
        let entries = read
            .open_table(ENTRIES)
            .map_err(|error| self.failed("open table entries of", error))?;
        let last = entries
            .last()
            .map_err(|error| self.failed("read the last entry of", error))?;
        let last = match last {
            Some((index, bytes)) => {
                let entry = self.entry(index.value(), bytes.value())?;
                crate::raft::types::position(&entry.id)
            }
            None => purged,
        };
        Ok(Head {
            vote,
            purged,
            committed: place(COMMITTED)?,
            last,
        })
    }

    /// Makes the changes durable, in order, in one synced commit.
    pub(in crate::raft) fn commit<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<()> {
        let mut write = self
            .database
            .begin_write()
            .map_err(|error| self.failed("begin to write", error))?;
        write
            .set_durability(Durability::Immediate)
            .map_err(|error| self.failed("begin to write", error))?;
        {
            let mut entries = write
                .open_table(ENTRIES)
                .map_err(|error| self.failed("open table entries of", error))?;
            let mut meta = write
                .open_table(META)
                .map_err(|error| self.failed("open table meta of", error))?;
            let mut buffer = Vec::new();
            for change in changes {
                match change {
                    Change::Append(new) => {
                        for entry in new {
                            buffer.clear();
                            let message = wire::log_entry(entry);
                            buffer.reserve(message.encoded_len());
                            // A vector has room for anything.
                            let _ = message.encode(&mut buffer);
                            let index = crate::raft::types::position(&entry.id).index;
                            entries
                                .insert(index, buffer.as_slice())
                                .map_err(|error| self.failed("append to", error))?;
                        }
                    }
                    Change::Truncate(from) => entries
                        .retain_in(*from.., |_, _| false)
                        .map_err(|error| self.failed("truncate", error))?,
                    Change::Purge(upto) => {
                        entries
                            .retain_in(..=upto.index, |_, _| false)
                            .map_err(|error| self.failed("purge", error))?;
                        meta.insert(PURGED, wire::place(*upto).encode_to_vec().as_slice())
                            .map_err(|error| self.failed("purge", error))?;
                    }
                    Change::Vote(vote) => {
                        meta.insert(VOTE, wire::ballot(vote).encode_to_vec().as_slice())
                            .map_err(|error| self.failed("save a vote in", error))?;
                    }
                    Change::Committed(upto) => {
                        meta.insert(COMMITTED, wire::place(*upto).encode_to_vec().as_slice())
                            .map_err(|error| self.failed("save the commit index in", error))?;
                    }
                }
            }
        }
        write
            .commit()
            .map_err(|error| self.failed("commit to", error))
    }

    /// Reads entries, ascending, from `range`, as many as there are; stops after the one with which `limit_bytes` is
    /// reached.
    pub(in crate::raft) fn entries(
        &self,
        range: Range<u64>,
        limit_bytes: usize,
    ) -> Result<Vec<Entry>> {
        let read = self.read()?;
        let entries = read
            .open_table(ENTRIES)
            .map_err(|error| self.failed("open table entries of", error))?;
        let rows = entries
            .range(range)
            .map_err(|error| self.failed("read", error))?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for row in rows {
            let (index, value) = row.map_err(|error| self.failed("read", error))?;
            bytes += value.value().len();
            found.push(self.entry(index.value(), value.value())?);
            if bytes >= limit_bytes {
                break;
            }
        }
        Ok(found)
    }

    fn read(&self) -> Result<redb::ReadTransaction> {
        self.database
            .begin_read()
            .map_err(|error| self.failed("begin to read", error))
    }

    fn entry(&self, index: u64, bytes: &[u8]) -> Result<Entry> {
        let message = api::LogEntry::decode(Bytes::copy_from_slice(bytes))
            .map_err(|error| self.damaged(&format!("entry {index}: {error}")))?;
        let entry = wire::entry(message)?;
        if crate::raft::types::position(&entry.id).index != index {
            return Err(self.damaged(&format!("entry {index} says it is {}", entry.id)));
        }
        Ok(entry)
    }

    fn decode<M: prost::Message + Default>(&self, key: &str, bytes: &[u8]) -> Result<M> {
        M::decode(bytes).map_err(|error| self.damaged(&format!("{key}: {error}")))
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::damaged(
            &self.name,
            format!("{what}; restore the member from its peers or from a backup"),
        )
    }

    fn failed(&self, action: &str, error: impl Into<redb::Error>) -> StoreError {
        StoreError::disk(format!("{action} {}", self.name), error.into())
    }
}
