//! A new file in the place of the old one.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use redb::Table;
use revkeep_schemas::{Row, RowSource as _};

use super::{
    Backend, Bucket, Disk, Position, STATE_FILE, View,
    bucket::{OWN, RAFT_STATE, ROWS},
    database::{Database, Flushed},
    engine::Shared,
};
use crate::error::{Result, StoreError};

/// The new file until it is whole.
const NEW_FILE: &str = "state.redb.new";

/// Removes what an interrupted replacement left behind.
pub(super) fn remove_leftovers(disk: &dyn Disk) -> Result<()> {
    disk.remove(NEW_FILE)
        .map_err(|error| StoreError::disk(format!("remove {}", disk.describe(NEW_FILE)), error))
}

/// Takes the content of the new file.
pub struct Replacement<'a> {
    database: &'a Database,
    rows: Table<'a, &'static [u8], &'static [u8]>,
    own: Table<'a, &'static [u8], &'static [u8]>,
    buckets: Vec<Table<'a, &'static [u8], &'static [u8]>>,
}

impl std::fmt::Debug for Replacement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Replacement").field(self.database).finish()
    }
}

impl Replacement<'_> {
    /// Adds a row; in ascending order it is fastest.
    pub fn put_row(&mut self, row: &Row<'_>) -> Result<()> {
        let inserted = self.rows.insert(&*row.key.encode(), row.value).map(drop);
        inserted.map_err(self.database.on("write a row"))
    }

    /// Sets an entry.
    pub fn put(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(table) = self.buckets.get_mut(bucket.index()) else {
            return Ok(());
        };
        let inserted = table.insert(key, value).map(drop);
        inserted.map_err(self.database.on("write an entry"))
    }

    /// Sets Raft's own bytes.
    pub fn put_raft_state(&mut self, state: &[u8]) -> Result<()> {
        let inserted = self.own.insert(RAFT_STATE, state).map(drop);
        inserted.map_err(self.database.on("write Raft's state"))
    }

    /// Sets the position of what was added.
    pub fn put_position(&mut self, position: Position) -> Result<()> {
        for (key, value) in position.entries() {
            self.put(Bucket::Meta, &key, &value)?;
        }
        Ok(())
    }
}

/// A new file before it has its name.
struct New<T> {
    database: Arc<Database>,
    read: T,
    row_bytes: u64,
}

impl Backend {
    /// Puts what `fill` adds in the place of everything, flushed or not: the state of a snapshot. Views that are open
    /// keep the old state. A crash leaves the old state or the new one, whole. The writer must not write meanwhile.
    ///
    /// # Errors
    /// What `fill` returned, or [`StoreError::Disk`]; the old state is in force then, and where it is not known which of
    /// them a start would find, [`failure`](Self::failure) says so and nothing is written any more.
    pub fn replace(&self, fill: impl FnOnce(&mut Replacement<'_>) -> Result<()>) -> Result<()> {
        let mut database = self.lock_writer()?;
        let new = self.make(fill, Shared::of)?;
        self.put_in_place()?;
        let mut shared = self.shared.write();
        *shared = new.read;
        self.row_bytes.store(new.row_bytes, Ordering::Relaxed);
        *database = new.database;
        Ok(())
    }

    /// Copies the state into a new file without free pages, and puts it in the place of the old one. Reads and writes go
    /// on meanwhile; flushes wait, so that what is written stays in memory until it has ended.
    ///
    /// # Errors
    /// [`StoreError::Disk`]; the old file is in force then, or it is as with [`replace`](Self::replace).
    pub fn defragment(&self) -> Result<()> {
        let mut database = self.lock_writer()?;
        // Nobody else writes to the file now, so this is all of it; what is in memory stays there.
        let old = Arc::new(database.read()?);
        let copy_all = |copy: &mut Replacement<'_>| {
            let mut rows = View::of_file(Arc::clone(&old), Position::default()).all_rows()?;
            while let Some(row) = rows.next_row()? {
                copy.put_row(&row)?;
            }
            for bucket in Bucket::ALL {
                for (key, value) in old.entries(bucket)? {
                    copy.put(bucket, &key, &value)?;
                }
            }
            let state: Option<Bytes> = old.raft_state()?;
            state.map_or(Ok(()), |state| copy.put_raft_state(&state))
        };
        let new = self.make(copy_all, |flushed| Ok(Arc::new(flushed)))?;
        self.put_in_place()?;
        let mut shared = self.shared.write();
        shared.flushed = new.read;
        self.row_bytes.store(new.row_bytes, Ordering::Relaxed);
        *database = new.database;
        Ok(())
    }

    /// Makes the new file, durable, and reads what is needed of it.
    fn make<T>(
        &self,
        fill: impl FnOnce(&mut Replacement<'_>) -> Result<()>,
        read: impl FnOnce(Flushed) -> Result<T>,
    ) -> Result<New<T>> {
        remove_leftovers(&*self.disk)?;
        let made = self.fill_new(fill).and_then(|(database, flushed)| {
            let row_bytes = flushed.rows_bytes()?;
            let read = read(flushed)?;
            Ok(New {
                database,
                read,
                row_bytes,
            })
        });
        if made.is_err() {
            // It is only space; the next start removes it too.
            let _ = self.disk.remove(NEW_FILE);
        }
        made
    }

    /// Gives the new file its name. Whether a start finds the old one or the new one after a failure is unknown, and what
    /// were written to either could be missed by it: nothing may be written then.
    fn put_in_place(&self) -> Result<()> {
        self.disk.rename(NEW_FILE, STATE_FILE).map_err(|error| {
            let place = self.disk.describe(NEW_FILE);
            let error = StoreError::disk(format!("rename {place}"), error);
            *self.failure.write() = Some(error.clone());
            error
        })
    }

    fn fill_new(
        &self,
        fill: impl FnOnce(&mut Replacement<'_>) -> Result<()>,
    ) -> Result<(Arc<Database>, Flushed)> {
        let new = Database::open(&*self.disk, NEW_FILE, self.options.cache_bytes)?;
        let txn = new.begin()?;
        {
            let open = |table| txn.open_table(table).map_err(new.on("open a table"));
            let mut replacement = Replacement {
                database: &new,
                rows: open(ROWS)?,
                own: open(OWN)?,
                buckets: Bucket::ALL
                    .into_iter()
                    .map(|bucket| open(bucket.table()))
                    .collect::<Result<_>>()?,
            };
            fill(&mut replacement)?;
        }
        txn.commit().map_err(new.on("commit"))?;
        let flushed = new.read()?;
        Ok((new, flushed))
    }
}
