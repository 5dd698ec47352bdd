//! The backend itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use redb::WriteTransaction;
use revkeep_schemas::{Revision, RowKey, boltdb::FINISHED_COMPACT_REV};

use super::{
    Bucket, Disk, Position, View,
    bucket::{OWN, RAFT_STATE, ROWS},
    database::{Database, Flushed},
    overlay::Overlay,
    tail::Tail,
    view::{FIRST_ROW, LAST_ROW},
};
use crate::error::{Result, StoreError};

/// The name of the state file.
pub const STATE_FILE: &str = "state.redb";
/// How long a change should stay unflushed at most, as in etcd's backend.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// After how many unflushed rows to flush at once, as in etcd's backend.
pub const FLUSH_ROWS: usize = 10_000;

/// How the backend works.
#[derive(Clone, Copy, Debug)]
pub struct BackendOptions {
    /// Bytes of the file to keep in memory.
    pub cache_bytes: usize,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            // What is not in it is in the system's own cache, one call away.
            cache_bytes: 128 << 20,
        }
    }
}

/// The state of a member on its disk.
///
/// One writer appends rows and changes buckets, then calls [`set_position`](Self::set_position): only then do these
/// changes belong to a flush or a [`view`](Self::view), all together. Readers are many, and see single rows and entries
/// at once.
pub struct Backend {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: BackendOptions,
    pub(super) shared: RwLock<Shared>,
    /// Who holds this is the only one to write to the file.
    pub(super) writer: Mutex<Arc<Database>>,
    pub(super) row_bytes: AtomicU64,
    pub(super) failure: RwLock<Option<StoreError>>,
}

/// What is in memory.
pub(super) struct Shared {
    /// Rows that are being flushed.
    flushing: Tail,
    /// Rows after them.
    tail: Tail,
    /// The last row that came before the position was last set.
    sealed: RowKey,
    flushing_changes: Overlay,
    changes: Overlay,
    /// Changes since the position was last set.
    open_changes: Overlay,
    position: Position,
    durable: Position,
    raft_state: Option<Bytes>,
    raft_state_changed: bool,
    pub(super) flushed: Arc<Flushed>,
}

impl Shared {
    /// What the file holds, and nothing in memory.
    pub(super) fn of(flushed: Flushed) -> Result<Self> {
        let position = Position::read(|name| flushed.get(Bucket::Meta, name))?;
        Ok(Self {
            flushing: Tail::default(),
            tail: Tail::default(),
            sealed: flushed.last_row()?.unwrap_or(FIRST_ROW),
            flushing_changes: Overlay::default(),
            changes: Overlay::default(),
            open_changes: Overlay::default(),
            position,
            durable: position,
            raft_state: flushed.raft_state()?,
            raft_state_changed: false,
            flushed: Arc::new(flushed),
        })
    }

    fn newest(&self) -> RowKey {
        let newest = self.tail.last_key().or_else(|| self.flushing.last_key());
        newest.map_or(self.sealed, |newest| newest.max(self.sealed))
    }

    fn view(&self, last: RowKey, open_changes: Overlay) -> View {
        View {
            position: self.position,
            raft_state: self.raft_state.clone(),
            flushed: Arc::clone(&self.flushed),
            tails: [self.flushing.clone(), self.tail.clone()],
            overlays: [
                self.flushing_changes.clone(),
                self.changes.clone(),
                open_changes,
            ],
            last,
        }
    }
}

impl Backend {
    /// Opens the state file of a disk, made if it is absent. Every page is checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a file that is not what was last written, [`StoreError::Disk`] when the disk fails or
    /// another process has the file open.
    pub fn open(disk: Arc<dyn Disk>, options: BackendOptions) -> Result<Self> {
        super::replace::remove_leftovers(&*disk)?;
        let database = Database::open(&*disk, STATE_FILE, options.cache_bytes)?;
        let flushed = database.read()?;
        let row_bytes = flushed.rows_bytes()?;
        Ok(Self {
            disk,
            options,
            shared: RwLock::new(Shared::of(flushed)?),
            writer: Mutex::new(database),
            row_bytes: AtomicU64::new(row_bytes),
            failure: RwLock::new(None),
        })
    }

    /// Adds rows, each above all before.
    ///
    /// # Errors
    /// [`StoreError::Internal`] for a row out of order; it and the rows after it are not added.
    pub fn append_rows(&self, rows: impl IntoIterator<Item = (RowKey, Bytes)>) -> Result<()> {
        let mut shared = self.shared.write();
        let mut newest = shared.newest();
        for (key, value) in rows {
            if key <= newest {
                return Err(StoreError::internal(format!(
                    "row {key:?} was appended after row {newest:?}: rows must ascend"
                )));
            }
            newest = key;
            shared.tail.push(key, value);
        }
        Ok(())
    }

    /// Sets an entry of a small bucket.
    pub fn put(&self, bucket: Bucket, key: Bytes, value: Bytes) {
        let mut shared = self.shared.write();
        shared.open_changes.set(bucket, key, Some(value));
    }

    /// Removes an entry of a small bucket, if it is there.
    pub fn delete(&self, bucket: Bucket, key: Bytes) {
        let mut shared = self.shared.write();
        shared.open_changes.set(bucket, key, None);
    }

    /// Everything that was appended, put and deleted so far belongs to `position`; so do `raft_state`, Raft's own
    /// bytes, where they changed.
    pub fn set_position(&self, position: Position, raft_state: Option<Bytes>) {
        let mut shared = self.shared.write();
        shared.position = position;
        shared.sealed = shared.newest();
        let changes = std::mem::take(&mut shared.open_changes);
        shared.changes.absorb(changes);
        if raft_state.is_some() {
            shared.raft_state = raft_state;
            shared.raft_state_changed = true;
        }
    }

    /// The last entry of the log that is applied.
    pub fn position(&self) -> Position {
        self.shared.read().position
    }

    /// The last entry of the log whose changes survive a crash. What comes after it is needed from the log.
    pub fn durable(&self) -> Position {
        self.shared.read().durable
    }

    /// Raft's own bytes, as last set.
    pub fn raft_state(&self) -> Option<Bytes> {
        self.shared.read().raft_state.clone()
    }

    /// The state at the position last set, whole.
    pub fn view(&self) -> View {
        let shared = self.shared.read();
        shared.view(shared.sealed, Overlay::default())
    }

    /// The state with all that was appended so far, in the middle of an entry of the log perhaps.
    pub fn latest(&self) -> View {
        let shared = self.shared.read();
        shared.view(LAST_ROW, shared.open_changes.clone())
    }

    /// The value of one row, flushed or not.
    pub fn row(&self, key: RowKey) -> Result<Option<Bytes>> {
        let shared = self.shared.read();
        let in_memory = shared.tail.get(key).or_else(|| shared.flushing.get(key));
        if let Some(value) = in_memory {
            return Ok(Some(value.clone()));
        }
        let flushed = Arc::clone(&shared.flushed);
        drop(shared);
        flushed.row(key)
    }

    /// The value of an entry of a small bucket, flushed or not.
    pub fn get(&self, bucket: Bucket, key: &Bytes) -> Result<Option<Bytes>> {
        let shared = self.shared.read();
        let layers = [
            &shared.open_changes,
            &shared.changes,
            &shared.flushing_changes,
        ];
        if let Some(found) = layers.iter().find_map(|layer| layer.get(bucket, key)) {
            return Ok(found);
        }
        let flushed = Arc::clone(&shared.flushed);
        drop(shared);
        flushed.get(bucket, key)
    }

    /// The value of an entry as a crash would leave it.
    pub(crate) fn durable_entry(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>> {
        let flushed = Arc::clone(&self.shared.read().flushed);
        flushed.get(bucket, key)
    }

    /// The entries of a small bucket, flushed or not.
    pub fn entries(&self, bucket: Bucket) -> Result<BTreeMap<Bytes, Bytes>> {
        self.latest().entries(bucket)
    }

    /// How many rows wait for a flush.
    pub fn unflushed_rows(&self) -> usize {
        let shared = self.shared.read();
        shared.tail.rows() + shared.flushing.rows()
    }

    /// Makes everything up to the position last set durable, in one commit, and returns that position. Readers and the
    /// writer go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Disk`]: the member must stop, and every later flush fails too.
    pub fn flush(&self) -> Result<Position> {
        let database = self.lock_writer()?;
        let (rows, changes, position, raft_state) = {
            let mut shared = self.shared.write();
            let sealed = shared.sealed;
            let rows = shared.tail.split_up_to(sealed);
            let changes = std::mem::take(&mut shared.changes);
            let raft_state = std::mem::take(&mut shared.raft_state_changed);
            if rows.is_empty()
                && changes.is_empty()
                && !raft_state
                && shared.position == shared.durable
            {
                return Ok(shared.durable);
            }
            shared.flushing = rows.clone();
            shared.flushing_changes = changes.clone();
            let raft_state = raft_state.then(|| shared.raft_state.clone()).flatten();
            (rows, changes, shared.position, raft_state)
        };
        let written = self.write(&database, |txn| {
            write_rows(&database, txn, &rows)?;
            write_changes(&database, txn, &changes)?;
            write_entries(&database, txn, Bucket::Meta, &position.entries())?;
            if let Some(state) = &raft_state {
                let mut own = txn.open_table(OWN).map_err(database.on("open a table"))?;
                own.insert(RAFT_STATE, &**state)
                    .map_err(database.on("write Raft's state"))?;
            }
            Ok(())
        });
        let flushed = written?;
        self.row_bytes
            .fetch_add(rows.bytes() as u64, Ordering::Relaxed);
        let mut shared = self.shared.write();
        let before = std::mem::replace(&mut shared.flushed, flushed);
        let old_rows = std::mem::take(&mut shared.flushing);
        shared.flushing_changes = Overlay::default();
        shared.durable = position;
        drop(shared);
        drop((before, old_rows));
        Ok(position)
    }

    /// Removes rows that a compaction does not keep, durably, and notes that it has finished where `finished` says so.
    /// The rows must be flushed.
    pub(crate) fn remove_rows(&self, rows: &[RowKey], finished: Option<Revision>) -> Result<()> {
        let database = self.lock_writer()?;
        let mut removed = 0;
        let flushed = self.write(&database, |txn| {
            let mut table = txn.open_table(ROWS).map_err(database.on("open a table"))?;
            for key in rows {
                let old = table
                    .remove(&*key.encode())
                    .map_err(database.on("remove a row"))?;
                removed += old.map_or(0, |old| key.encoded_len() + old.value().len());
            }
            if let Some(revision) = finished {
                let entry = (
                    Bytes::from_static(FINISHED_COMPACT_REV),
                    encoded_revision(revision),
                );
                write_entries(&database, txn, Bucket::Meta, &[entry])?;
            }
            Ok(())
        })?;
        self.row_bytes.fetch_sub(removed as u64, Ordering::Relaxed);
        let before = std::mem::replace(&mut self.shared.write().flushed, flushed);
        drop(before);
        Ok(())
    }

    /// Waits until nobody else writes to the file.
    pub(super) fn lock_writer(&self) -> Result<MutexGuard<'_, Arc<Database>>> {
        let database = self.writer.lock();
        match &*self.failure.read() {
            Some(failure) => Err(failure.clone()),
            None => Ok(database),
        }
    }

    /// One durable commit; afterwards the file as it then is. A failure is for ever: what the disk holds is unknown.
    fn write(
        &self,
        database: &Arc<Database>,
        fill: impl FnOnce(&WriteTransaction) -> Result<()>,
    ) -> Result<Arc<Flushed>> {
        let written = database.begin().and_then(|txn| {
            fill(&txn)?;
            txn.commit().map_err(database.on("commit"))?;
            database.read()
        });
        written
            .map(Arc::new)
            .inspect_err(|error| *self.failure.write() = Some(error.clone()))
    }

    /// The failure that ended all writing, if there was one.
    pub fn failure(&self) -> Option<StoreError> {
        self.failure.read().clone()
    }

    /// Bytes that the file occupies, with pages that are free inside it: what the quota bounds.
    pub fn size_bytes(&self) -> u64 {
        let high_water = self.writer_high_water();
        high_water.max(self.size_in_use_bytes())
    }

    /// Bytes that rows occupy, flushed or not.
    pub fn size_in_use_bytes(&self) -> u64 {
        let shared = self.shared.read();
        let unflushed = shared.tail.bytes() + shared.flushing.bytes();
        self.row_bytes.load(Ordering::Relaxed) + unflushed as u64
    }

    fn writer_high_water(&self) -> u64 {
        self.shared.read().flushed.high_water()
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared.read();
        f.debug_struct("Backend")
            .field("disk", &self.disk)
            .field("position", &shared.position)
            .field("durable", &shared.durable)
            .finish_non_exhaustive()
    }
}

/// A revision as the bucket `meta` holds it: the row key `revision_0`.
pub(crate) fn encoded_revision(main: Revision) -> Bytes {
    let key = RowKey {
        main,
        sub: 0,
        tombstone: false,
    };
    Bytes::copy_from_slice(&key.encode())
}

fn write_rows(database: &Database, txn: &WriteTransaction, rows: &Tail) -> Result<()> {
    let mut table = txn.open_table(ROWS).map_err(database.on("open a table"))?;
    for (key, value) in rows.iter() {
        table
            .insert(&*key.encode(), &**value)
            .map_err(database.on("write a row"))?;
    }
    Ok(())
}

fn write_changes(database: &Database, txn: &WriteTransaction, changes: &Overlay) -> Result<()> {
    for bucket in Bucket::ALL {
        let mut table = None;
        for (_, key, value) in changes.iter().filter(|change| change.0 == bucket) {
            let table = match &mut table {
                Some(table) => table,
                none => none.insert(
                    txn.open_table(bucket.table())
                        .map_err(database.on("open a table"))?,
                ),
            };
            match value {
                Some(value) => table.insert(&**key, &**value).map(drop),
                None => table.remove(&**key).map(drop),
            }
            .map_err(database.on("write an entry"))?;
        }
    }
    Ok(())
}

fn write_entries(
    database: &Database,
    txn: &WriteTransaction,
    bucket: Bucket,
    entries: &[(Bytes, Bytes)],
) -> Result<()> {
    let mut table = txn
        .open_table(bucket.table())
        .map_err(database.on("open a table"))?;
    for (key, value) in entries {
        table
            .insert(&**key, &**value)
            .map_err(database.on("write an entry"))?;
    }
    Ok(())
}
