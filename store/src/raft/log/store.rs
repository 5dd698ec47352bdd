//! The log as the consensus library writes it.

use std::{
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use openraft::{
    AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    Change, LOG_FILE, LogFile, Reader, cache::Cache, file::Head, synced::Synced, writer::Writer,
};
use crate::{
    Result, StoreError,
    backend::{Disk, Position},
    executor::Executor,
    raft::{
        stop::Stopper,
        types::{
            Body, Entry, LogId, StorageError, Types, Vote, log_id, position, position_or_origin,
        },
    },
};

/// Entries of this many bytes stay in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// How far the log has come, for whoever reports it.
#[derive(Debug, Default)]
pub(in crate::raft) struct Marks {
    committed: AtomicU64,
    last: Mutex<Position>,
    appended_bytes: AtomicU64,
}

impl Marks {
    /// The index of the last entry known to be agreed on.
    pub(in crate::raft) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// The index of the last entry.
    pub(in crate::raft) fn last(&self) -> u64 {
        self.last.lock().index
    }

    /// The last entry.
    pub(in crate::raft) fn last_position(&self) -> Position {
        *self.last.lock()
    }

    /// Bytes of commands appended since the start.
    pub(in crate::raft) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }
}

/// The log as the consensus library writes it: one call at a time.
#[derive(Debug)]
pub(in crate::raft) struct LogStore {
    member_id: u64,
    reader: Reader,
    writer: Writer,
    vote: Option<Vote>,
    purged: Position,
    last: Position,
    committed: Position,
    /// The next commit carries [`committed`](Self::committed) along.
    committed_is_new: bool,
    marks: Arc<Marks>,
    /// How far the state machine's state survives a crash: no entry after it may go.
    durable: watch::Receiver<Position>,
    stopper: Stopper,
}

impl LogStore {
    /// Opens the log of a member. `founding` is written into it if nothing was ever in it.
    pub(in crate::raft) fn open(
        disk: &dyn Disk,
        (cluster_id, member_id): (u64, u64),
        executor: Executor,
        founding: Option<Entry>,
        applied: Position,
        durable: watch::Receiver<Position>,
        stopper: Stopper,
    ) -> Result<Self> {
        let (file, mut head) = LogFile::open(disk, cluster_id, member_id)?;
        let is_new = head.vote.is_none() && head.last == Position::default();
        if is_new && applied != Position::default() {
            return Err(StoreError::damaged(
                disk.describe(LOG_FILE),
                format!(
                    "holds nothing, but the state beside it has applied entry {applied} of a log: \
                     this member's vote is lost with its log; remove it from the cluster and add it \
                     anew with an empty data directory"
                ),
            ));
        }
        if let (true, Some(entry)) = (is_new, founding) {
            head.last = position(&entry.id);
            file.commit([&Change::Append(vec![entry])])?;
        }
        let file = Arc::new(file);
        let writer = Writer::start(Arc::clone(&file), executor)
            .map_err(|error| StoreError::disk("start the log's thread", error))?;
        let Head {
            vote,
            purged,
            committed,
            last,
        } = head;
        let synced = Arc::new(Synced::new(last.index, stopper.clone()));
        let marks = Arc::new(Marks::default());
        marks.committed.store(committed.index, Ordering::Relaxed);
        *marks.last.lock() = last;
        Ok(Self {
            member_id,
            reader: Reader {
                file,
                cache: Arc::new(Mutex::new(Cache::new(CACHE_BYTES))),
                synced,
                executor,
            },
            writer,
            vote,
            purged,
            last,
            committed,
            committed_is_new: false,
            marks,
            durable,
            stopper,
        })
    }

    pub(in crate::raft) fn marks(&self) -> Arc<Marks> {
        Arc::clone(&self.marks)
    }

    /// How far it is on the disk.
    pub(in crate::raft) fn synced(&self) -> Arc<Synced> {
        Arc::clone(&self.reader.synced)
    }

    /// Whether this member leads in the term of its vote, so that entries of that term are its own.
    fn leads_in(&self, term: u64) -> bool {
        let own = Some(self.member_id);
        self.vote
            .is_some_and(|vote| vote.leader_id.term == term && vote.leader_id.voted_for == own)
    }

    fn set_last(&mut self, last: Position) {
        self.last = last;
        *self.marks.last.lock() = last;
    }

    /// The changes of one commit.
    fn with_committed(&mut self, change: Change) -> Vec<Change> {
        let mut changes = vec![change];
        if std::mem::take(&mut self.committed_is_new) {
            changes.push(Change::Committed(self.committed));
        }
        changes
    }

    async fn write(&mut self, change: Change) -> Result<()> {
        let changes = self.with_committed(change);
        let (done, written) = oneshot::channel();
        self.writer.submit(changes, move |result| {
            // Nobody waits any more when the member is stopping.
            let _ = done.send(result);
        });
        let result = written.await.unwrap_or(Err(StoreError::Stopped));
        if let Err(error) = &result {
            self.stopper.fail(error.clone());
        }
        result
    }

    /// Waits until the state machine could do without the entries up to `upto`: while it installs a snapshot, the
    /// library already asks for the entries before it to go, and a kill in between must find one or the other.
    async fn until_durable(&mut self, upto: Position) -> Result<()> {
        let durable = self.durable.wait_for(|durable| *durable >= upto);
        tokio::select! {
            biased;
            reached = durable => reached.map(drop).map_err(|_| StoreError::Stopped),
            () = self.stopper.stopped() => Err(StoreError::Stopped),
        }
    }
}

fn failed(error: &StoreError) -> StorageError {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader.try_get_log_entries(range).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        Ok(LogState {
            last_purged_log_id: log_id(self.purged),
            last_log_id: log_id(self.last),
        })
    }

    async fn get_log_reader(&mut self) -> Reader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let saved = self.write(Change::Vote(*vote)).await;
        saved.map_err(|error| failed(&error))?;
        self.vote = Some(*vote);
        Ok(())
    }

    /// The vote, but never as an elected leader's: the library would take up the lead of the same term again, and then
    /// answer reads before it knows which of the entries of that term were agreed on before the restart. So a member
    /// that restarts has to be elected like any other.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.vote.map(|vote| Vote {
            committed: false,
            ..vote
        }))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.committed = position_or_origin(committed.as_ref());
        self.committed_is_new = true;
        let index = self.committed.index;
        self.marks.committed.store(index, Ordering::Relaxed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(log_id(self.committed))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| position(&entry.id)) else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        let mut bytes = 0;
        for entry in &entries {
            if let Body::Commands(commands) = &entry.body {
                commands.take();
                bytes += commands.batch.len() as u64;
            }
        }
        let marks = &self.marks;
        marks.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.set_last(last);
        let synced = self.synced();
        self.reader.cache.lock().push(&entries, synced.upto());
        let changes = self.with_committed(Change::Append(entries));
        let stopper = self.stopper.clone();
        // A follower's answer promises that the entries are on its disk. A leader counts itself, which `Synced` makes
        // true before anything comes of it.
        let mut callback = Some(callback);
        let early = callback.take_if(|_| self.leads_in(last.term));
        self.writer.submit(changes, move |result| {
            match &result {
                Ok(()) => synced.set(last.index),
                Err(error) => stopper.fail(error.clone()),
            }
            if let Some(callback) = callback {
                callback.log_io_completed(result.map_err(io::Error::other));
            }
        });
        if let Some(callback) = early {
            callback.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        let from = position(&from).index;
        let truncated = self.write(Change::Truncate(from)).await;
        truncated.map_err(|error| failed(&error))?;
        self.reader.cache.lock().truncate(from);
        let before = from.saturating_sub(1);
        let synced = &self.reader.synced;
        synced.set(synced.upto().min(before));
        let last = if before <= self.purged.index {
            self.purged
        } else {
            let kept = self.reader.try_get_log_entries(before - 1..before).await?;
            kept.first()
                .map_or(self.purged, |entry| position(&entry.id))
        };
        self.set_last(last);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let upto = position(&upto);
        if upto <= self.purged {
            return Ok(());
        }
        let durable = self.until_durable(upto).await;
        durable.map_err(|error| failed(&error))?;
        // A log that ends in an older term than the state machine holds entries that were never agreed on, also after
        // `upto`: a snapshot came before they could be cut off.
        let all = self.last.term < upto.term || self.last.index <= upto.index;
        if all {
            let stale = self.write(Change::Truncate(0)).await;
            stale.map_err(|error| failed(&error))?;
            self.reader.cache.lock().truncate(0);
        }
        let purged = self.write(Change::Purge(upto)).await;
        purged.map_err(|error| failed(&error))?;
        self.reader.cache.lock().purge(upto.index);
        let synced = &self.reader.synced;
        synced.set(synced.upto().max(upto.index));
        self.purged = upto;
        if all {
            self.set_last(upto);
        }
        Ok(())
    }
}
