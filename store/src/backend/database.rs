//! The redb file: opening it, and what is read from it.

use std::{
    fmt,
    io::ErrorKind,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use redb::{
    Durability, ReadOnlyTable, ReadableDatabase as _, ReadableTableMetadata as _, StorageError,
    WriteTransaction,
};
use revkeep_schemas::RowKey;

use super::{
    Bucket, Disk,
    bucket::{OWN, RAFT_STATE, ROWS},
    watched::{Watched, Watcher},
};
use crate::error::{Result, StoreError};

pub(super) type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;
pub(super) type ReadRange = redb::Range<'static, &'static [u8], &'static [u8]>;

/// An open redb file.
pub(super) struct Database {
    redb: redb::Database,
    place: String,
    high_water: HighWater,
}

impl Database {
    /// Opens or makes the file, checks every page of it, and makes sure that it has every table.
    pub(super) fn open(disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<Arc<Self>> {
        let place = disk.describe(name);
        let file = disk
            .open(name)
            .map_err(|error| StoreError::disk(format!("open {place}"), error))?;
        let high_water = HighWater::default();
        let file = Watched {
            file,
            watcher: high_water.clone(),
        };
        let redb = redb::Builder::new()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(true)
            .create_with_backend(file)
            .map_err(|error| failed(&place, "open", error))?;
        let database = Self {
            redb,
            place,
            high_water,
        };
        let txn = database.begin()?;
        for table in [ROWS, OWN]
            .into_iter()
            .chain(Bucket::ALL.map(Bucket::table))
        {
            txn.open_table(table).map_err(database.on("make a table"))?;
        }
        txn.commit().map_err(database.on("commit"))?;
        Ok(Arc::new(database))
    }

    /// Begins a write that is durable when it has committed. One at a time; others wait.
    pub(super) fn begin(&self) -> Result<WriteTransaction> {
        let mut txn = self.redb.begin_write().map_err(self.on("begin a write"))?;
        txn.set_durability(Durability::Immediate)
            .map_err(|error| StoreError::internal_from("redb refuses to be durable", error))?;
        Ok(txn)
    }

    /// What is in the file now, and will be for whoever holds it.
    pub(super) fn read(self: &Arc<Self>) -> Result<Flushed> {
        let txn = self.redb.begin_read().map_err(self.on("begin a read"))?;
        let open = |table| txn.open_table(table).map_err(self.on("open a table"));
        Ok(Flushed {
            rows: open(ROWS)?,
            own: open(OWN)?,
            buckets: Bucket::ALL
                .into_iter()
                .map(|bucket| open(bucket.table()))
                .collect::<Result<_>>()?,
            database: Arc::clone(self),
        })
    }

    /// Names the file in an error; made for `map_err`.
    pub(super) fn on<E: Into<redb::Error>>(&self, action: &str) -> impl FnOnce(E) -> StoreError {
        let (place, action) = (self.place.clone(), action.to_owned());
        move |error| failed(&place, &action, error)
    }

    /// One past the last byte that was written since it was opened.
    pub(super) fn high_water(&self) -> u64 {
        self.high_water.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.place).finish()
    }
}

fn failed(place: &str, action: &str, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => damaged(place, &what),
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            damaged(place, &error.to_string())
        }
        error => StoreError::disk(format!("{action}: {place}"), error),
    }
}

fn damaged(place: &str, what: &str) -> StoreError {
    StoreError::damaged(
        place,
        format!(
            "not a sound state file ({what}): remove this member from the cluster and add it again, or restore a snapshot"
        ),
    )
}

/// The file's content at one moment. The tables keep the read transaction, and this the database, open.
pub(super) struct Flushed {
    rows: ReadTable,
    own: ReadTable,
    buckets: Vec<ReadTable>,
    database: Arc<Database>,
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flushed").field(&self.database).finish()
    }
}

impl Flushed {
    pub(super) fn row(&self, key: RowKey) -> Result<Option<Bytes>> {
        read(&self.rows, &key.encode()).map_err(self.database.on("read a row"))
    }

    /// Rows from `from` on.
    pub(super) fn rows_from(&self, from: RowKey) -> Result<ReadRange> {
        let from = from.encode();
        let range = (Bound::Included(&*from), Bound::<&[u8]>::Unbounded);
        let found = self.rows.range::<&[u8]>(range);
        found.map_err(self.database.on("read rows"))
    }

    pub(super) fn read_failed(&self, error: StorageError) -> StoreError {
        self.database.on("read rows")(error)
    }

    pub(super) fn corrupt_row(&self, error: &revkeep_schemas::FormatError) -> StoreError {
        damaged(&self.database.place, &error.to_string())
    }

    pub(super) fn last_row(&self) -> Result<Option<RowKey>> {
        use redb::ReadableTable as _;
        let last = self.rows.last().map_err(self.database.on("read rows"))?;
        last.map(|(key, _)| RowKey::decode(key.value()).map_err(|error| self.corrupt_row(&error)))
            .transpose()
    }

    pub(super) fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(table) = self.buckets.get(bucket.index()) else {
            return Ok(None);
        };
        read(table, key).map_err(self.database.on("read an entry"))
    }

    pub(super) fn entries(&self, bucket: Bucket) -> Result<Vec<(Bytes, Bytes)>> {
        let Some(table) = self.buckets.get(bucket.index()) else {
            return Ok(Vec::new());
        };
        let range = table.range::<&[u8]>(..);
        let copied = range.and_then(|range| {
            range
                .map(|entry| {
                    let (key, value) = entry?;
                    Ok((
                        Bytes::copy_from_slice(key.value()),
                        Bytes::copy_from_slice(value.value()),
                    ))
                })
                .collect()
        });
        copied.map_err(self.database.on("read a bucket"))
    }

    pub(super) fn raft_state(&self) -> Result<Option<Bytes>> {
        read(&self.own, RAFT_STATE).map_err(self.database.on("read Raft's state"))
    }

    /// One past the last byte that was written to the file since it was opened.
    pub(super) fn high_water(&self) -> u64 {
        self.database.high_water()
    }

    /// Bytes of the pages that hold rows. Reads all of them.
    pub(super) fn rows_bytes(&self) -> Result<u64> {
        let stats = self
            .rows
            .stats()
            .map_err(self.database.on("measure the rows"))?;
        Ok(stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes())
    }
}

fn read(table: &ReadTable, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
    let found = table.get(key)?;
    Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
}

/// How far the file was written: redb grows it by doubling, so its length says little about its use.
#[derive(Clone, Debug, Default)]
struct HighWater(Arc<AtomicU64>);

impl Watcher for HighWater {
    fn wrote(&self, end: u64) {
        self.0.fetch_max(end, Ordering::Relaxed);
    }

    fn resized(&self, len: u64) {
        self.0.fetch_min(len, Ordering::Relaxed);
    }
}
