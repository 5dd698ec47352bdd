//! Compaction.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use revkeep_schemas::{
    Revision, RowKey, RowSource as _,
    boltdb::{FINISHED_COMPACT_REV, SCHEDULED_COMPACT_REV},
};
use tokio::sync::watch;

use super::{
    Mvcc,
    hash::{HashKvAnswer, RowHash},
    index::Change,
    load::read_revision,
    revisions::NEVER_COMPACTED,
};
use crate::{
    backend::{Bucket, FIRST_ROW, encoded_revision},
    error::{Result, StoreError},
};

/// Rows that are looked at between two commits.
const ROWS_AT_ONCE: usize = 10_000;
/// How long the thread rests after each, so that flushes get their turn at the file.
const REST: Duration = Duration::from_millis(10);
/// How long it waits for the log's position to be set after the entry that asked for the compaction.
const SETTLE: Duration = Duration::from_millis(2);

/// Who removes compacted rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionMode {
    /// A thread that lives while there is something to remove.
    #[default]
    Thread,
    /// Whoever calls [`Mvcc::flush`]. For simulations, which own all time.
    OnFlush,
}

/// A compaction under way.
#[derive(Clone, Debug)]
pub struct CompactionTicket {
    done: watch::Receiver<bool>,
}

impl CompactionTicket {
    /// Waits until all rows that the compaction does not keep are gone, durably.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the store is stopped first. The compaction then goes on after the next start.
    pub async fn wait(mut self) -> Result<()> {
        let done = self.done.wait_for(|done| *done).await;
        done.map(drop).map_err(|_| StoreError::Stopped)
    }

    /// Whether it is over.
    pub fn is_done(&self) -> bool {
        *self.done.borrow()
    }
}

#[derive(Debug)]
struct Job {
    at: i64,
    /// The compact revision before.
    previous: i64,
    /// Whether that one was finished, so that the hash on the way is that of whole history.
    whole: bool,
    done: watch::Sender<bool>,
}

/// The compactions that wait, and the thread that runs them.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    queue: Mutex<Queue>,
    idle: Condvar,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: bool,
}

impl Compactor {
    /// Ends the job under way between two batches, forgets the others, and runs `during` while there is none.
    pub(super) fn pause<T>(&self, during: impl FnOnce() -> T) -> T {
        self.stop();
        let result = during();
        self.stopped.store(false, Ordering::SeqCst);
        result
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        queue.jobs.clear();
        while queue.running {
            self.idle.wait(&mut queue);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The next job, or the end of the thread.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        let job = queue.jobs.pop_front();
        if job.is_none() {
            queue.running = false;
            self.idle.notify_all();
        }
        job
    }
}

impl Mvcc {
    /// Makes `at` the compact revision: what was there at `at` can be read still, what was replaced or deleted before
    /// cannot. The rows themselves are removed in the background, and after a restart if need be.
    ///
    /// # Errors
    /// etcd's, for a revision that is compacted already or not there yet.
    pub fn compact(&self, at: i64) -> Result<CompactionTicket> {
        let scheduled = read_revision(&self.backend, SCHEDULED_COMPACT_REV)?;
        let finished = read_revision(&self.backend, FINISHED_COMPACT_REV)?;
        let previous = self.revisions.advance_compact(at)?;
        self.backend.put(
            Bucket::Meta,
            Bytes::from_static(SCHEDULED_COMPACT_REV),
            encoded_revision(Revision(at)),
        );
        self.enqueue(at, previous, scheduled == finished)
    }

    /// Goes on with a compaction that a stop has interrupted.
    pub(super) fn resume_compaction(&self, scheduled: Option<i64>) -> Result<()> {
        let Some(at) = scheduled else {
            return Ok(());
        };
        let previous = self.revisions.advance_compact(at)?;
        self.enqueue(at, previous, false).map(drop)
    }

    fn enqueue(&self, at: i64, previous: i64, whole: bool) -> Result<CompactionTicket> {
        let (done, ticket) = watch::channel(false);
        let job = Job {
            at,
            previous,
            whole,
            done,
        };
        let mut queue = self.compactor.queue.lock();
        queue.jobs.push_back(job);
        if self.options.compaction == CompactionMode::Thread
            && !queue.running
            && !self.compactor.is_stopped()
        {
            queue.running = true;
            if let Err(error) = self.spawn() {
                queue.running = false;
                return Err(StoreError::internal_from(
                    "no thread to remove compacted rows",
                    error,
                ));
            }
        }
        Ok(CompactionTicket { done: ticket })
    }

    fn spawn(&self) -> std::io::Result<()> {
        let Some(store) = self.this.get().and_then(std::sync::Weak::upgrade) else {
            return Ok(());
        };
        let run = move || {
            while let Some(job) = store.compactor.next() {
                if let Err(error) = store.run(&job) {
                    tracing::error!(revision = job.at, %error, "a compaction has failed");
                }
            }
        };
        let thread = thread::Builder::new().name("compaction".to_owned());
        thread.spawn(run).map(drop)
    }

    /// Ends the thread that removes rows. Compactions that are not over go on after the next start.
    pub fn stop(&self) {
        self.compactor.stop();
    }

    /// Runs the compactions whose decision is durable.
    pub(super) fn run_compactions(&self) -> Result<()> {
        loop {
            let mut queue = self.compactor.queue.lock();
            let Some(job) = queue.jobs.pop_front() else {
                return Ok(());
            };
            if !self.is_decided(job.at)? {
                queue.jobs.push_front(job);
                return Ok(());
            }
            drop(queue);
            self.run(&job)?;
        }
    }

    /// Whether a crash would leave the compaction scheduled: before, no row may go.
    fn is_decided(&self, at: i64) -> Result<bool> {
        let name = Bytes::from_static(SCHEDULED_COMPACT_REV);
        let value = self.backend.durable_entry(Bucket::Meta, &name)?;
        let scheduled = value.and_then(|value| RowKey::decode(&value).ok());
        Ok(scheduled.is_some_and(|scheduled| scheduled.main.0 >= at))
    }

    /// Removes what a compaction does not keep (etcd, `server/storage/mvcc/kvstore_compaction.go`).
    fn run(&self, job: &Job) -> Result<()> {
        while !self.is_decided(job.at)? {
            if self.compactor.is_stopped() {
                return Ok(());
            }
            self.backend.flush()?;
            if !self.is_decided(job.at)? {
                thread::sleep(SETTLE);
            }
        }
        self.revisions.wait_unpinned_below(job.at);
        let kept = self.compact_index(job.at);
        let mut hash = RowHash::new(job.at, job.previous, &kept, !kept.is_empty());
        let mut from = FIRST_ROW;
        loop {
            if self.compactor.is_stopped() {
                return Ok(());
            }
            let batch = self.doomed(from, job.at, &mut hash)?;
            let finished = batch.next.is_none().then_some(Revision(job.at));
            if !batch.doomed.is_empty() || finished.is_some() {
                self.backend.remove_rows(&batch.doomed, finished)?;
            }
            let Some(next) = batch.next else { break };
            from = next;
            if self.options.compaction == CompactionMode::Thread {
                thread::sleep(REST);
            }
        }
        // At revision 0 it would be taken for the newest: HashKV at 0 asks for that.
        if job.whole && job.at > 0 {
            self.hashes.remember(HashKvAnswer {
                hash: hash.finish(),
                compact_revision: job.previous.max(NEVER_COMPACTED),
                hash_revision: job.at,
                current: self.revision(),
            });
        }
        job.done.send_replace(true);
        Ok(())
    }

    /// The rows at or below `at` that stay, ascending.
    fn compact_index(&self, at: i64) -> Vec<Change> {
        let mut kept = Vec::new();
        let mut after: Option<Box<[u8]>> = None;
        loop {
            let mut index = self.index.write();
            after = index.compact(at, after.as_deref(), &mut kept);
            if after.is_none() {
                break;
            }
        }
        kept.sort_unstable();
        kept
    }

    /// Looks at the next rows from `from` on.
    fn doomed(&self, from: RowKey, at: i64, hash: &mut RowHash<'_>) -> Result<Batch> {
        let last = RowKey {
            main: Revision(at),
            sub: i64::MAX,
            tombstone: true,
        };
        let mut rows = self.backend.latest().rows(from, last)?;
        let mut doomed = Vec::new();
        for _ in 0..ROWS_AT_ONCE {
            let Some(row) = rows.next_row()? else {
                return Ok(Batch { doomed, next: None });
            };
            if !hash.update(&row) {
                doomed.push(row.key);
            }
        }
        let next = rows.next_row()?.map(|row| row.key);
        Ok(Batch { doomed, next })
    }
}

struct Batch {
    doomed: Vec<RowKey>,
    /// Where the next batch begins.
    next: Option<RowKey>,
}
