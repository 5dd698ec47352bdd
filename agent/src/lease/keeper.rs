//! Asks for leases: at once for those that rows name, and from time to time for all that live, so that most are known
//! before a row names them. The watch never waits here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use prost::Message;
use revkeep_schemas::Revision;
use revkeep_schemas::etcd_api::leasepb::Lease;
use revkeep_schemas::manifest::SmallBucket;
use revkeep_schemas::segment::LeaseFact;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LeaseBook;
use crate::AgentError;
use crate::backoff::Backoff;
use crate::capture::joiner::Transaction;
use crate::source::Member;

/// The bucket of etcd's db file that holds the leases.
const BUCKET: &[u8] = b"lease";
/// The least time between two lists of all leases.
const LIST_INTERVAL: Duration = Duration::from_secs(1);
/// How much a lease adds to that, because listing sorts them all under the source's lock.
const LIST_INTERVAL_PER_LEASE: Duration = Duration::from_millis(1);
const LIST_INTERVAL_LIMIT: Duration = Duration::from_secs(60);
/// Leases that are asked for in one round, and at once.
const ROUND: usize = 64;
const PARALLEL: usize = 8;
/// How long a segment waits for answers in flight.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait after the source failed to answer.
const RETRY_LIMIT: Duration = Duration::from_secs(15);

/// What is known of leases, shared by capture, which sees ids, and shipping, which stores facts.
#[derive(Debug, Default)]
pub struct Leases {
    book: Mutex<LeaseBook>,
    ask: Notify,
    answers: watch::Sender<u64>,
}

impl Leases {
    fn book(&self) -> MutexGuard<'_, LeaseBook> {
        // Every change of the book is whole before anything in it could panic.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction arrived.
    pub fn saw(&self, transaction: &Transaction) {
        if transaction.leases.is_empty() {
            return;
        }
        let mut book = self.book();
        let mut new = false;
        for id in &transaction.leases {
            new |= book.saw(*id, transaction.revision);
        }
        drop(book);
        if new {
            self.ask.notify_one();
        }
    }

    /// A base tells its leases.
    pub fn learn(&self, buckets: &[SmallBucket]) {
        let leases = buckets.iter().filter(|bucket| bucket.name == BUCKET);
        let rows = leases.flat_map(|bucket| &bucket.entries);
        let mut book = self.book();
        for (_, value) in rows {
            // A row that is no lease tells nothing.
            if let Ok(lease) = Lease::decode(value.as_slice()) {
                book.learned(lease.id, lease.ttl);
                known(lease.id, lease.ttl);
            }
        }
    }

    /// The facts to store with the rows up to `last`. Waits a moment for answers that are on their way, when there is a
    /// source to give them.
    pub async fn facts(&self, last: Revision, connected: bool) -> Vec<LeaseFact> {
        if connected {
            let mut answers = self.answers.subscribe();
            let all = answers.wait_for(|_| !self.book().waits(last));
            if tokio::time::timeout(PATIENCE, all).await.is_err() {
                tracing::debug!(%last, "the source was too slow to resolve all leases of a segment");
            }
        }
        self.book().facts(last)
    }

    /// Facts that were given for a segment which is not kept after all.
    pub fn returned(&self, facts: Vec<LeaseFact>) {
        if facts.is_empty() {
            return;
        }
        let mut book = self.book();
        for fact in facts {
            book.returned(fact);
        }
    }

    /// Asks the member that is watched, until `done`.
    pub async fn run(
        self: Arc<Self>,
        mut member: watch::Receiver<Option<Member>>,
        done: CancellationToken,
    ) {
        let asking = async {
            let mut backoff = Backoff::new(RETRY_LIMIT);
            let mut list_at = Instant::now();
            loop {
                let Some(now) = member.borrow_and_update().clone() else {
                    if member.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                    continue;
                };
                match self.ask(&now, &mut list_at).await {
                    Ok(()) => backoff.reset(),
                    Err(error) => {
                        tracing::debug!(%error, "leases were not resolved");
                        tokio::time::sleep(backoff.step()).await;
                    }
                }
            }
        };
        tokio::select! {
            () = done.cancelled() => {}
            () = asking => {}
        }
    }

    /// One round: waits for something to ask, and asks.
    async fn ask(&self, member: &Member, list_at: &mut Instant) -> Result<(), AgentError> {
        let ids = self.book().take(ROUND);
        if !ids.is_empty() {
            return self.resolve(member, ids).await;
        }
        tokio::select! {
            () = self.ask.notified() => return Ok(()),
            () = tokio::time::sleep_until(*list_at) => {}
        }
        *list_at = Instant::now() + LIST_INTERVAL;
        let living = member.leases().await?;
        let count = u32::try_from(living.len()).unwrap_or(u32::MAX);
        let interval = LIST_INTERVAL_PER_LEASE.saturating_mul(count);
        *list_at = Instant::now() + interval.clamp(LIST_INTERVAL, LIST_INTERVAL_LIMIT);
        self.book().listed(&living);
        Ok(())
    }

    async fn resolve(&self, member: &Member, ids: Vec<i64>) -> Result<(), AgentError> {
        let mut answers = stream::iter(ids)
            .map(async |id| (id, member.granted_ttl(id).await))
            .buffer_unordered(PARALLEL);
        let mut failed = None;
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(granted) => {
                    self.book().answered(id, granted);
                    self.answers.send_modify(|count| *count += 1);
                    if let Some(granted) = granted {
                        known(id, granted);
                    }
                }
                Err(error) => {
                    self.book().put_back(id);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Ids as etcdctl prints them.
fn known(id: i64, granted_ttl_s: i64) {
    tracing::debug!(
        lease = format_args!("{id:016x}"),
        granted_ttl_s,
        "lease is known"
    );
}
