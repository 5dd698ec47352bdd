//! Bringing watchers up to date that start in the past or whose client was slow.
//!
//! Each stream has one task for it. It reads a page of the history for the watcher that has waited longest, and gives the
//! page's events to all lagging watchers of the stream that are inside the page, so that many watchers with the same past
//! cost one scan. It holds one page at a time and waits for room in the client's queue, which bounds the memory.

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use revkeep_schemas::etcd_api::etcdserverpb::WatchResponse;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::events::{EventList, weight};
use super::index::RangeIndex;
use super::outbox::{Closed, Outbox, Queued};
use super::state::{ANSWER_BYTES, StreamKey, WatcherKey, answer};
use super::{WatchHub, WatchSpec};
use crate::error::StoreError;
use crate::mvcc::EventPage;

/// The most revisions of one page, as in etcd (`server/mvcc/watcher_group.go`, `watchBatchMaxRevs`).
const PAGE_REVISIONS: usize = 1_000;
/// More watchers than this are looked up by key rather than tried one by one.
const FEW_WATCHERS: usize = 8;
/// The pause after a read that failed or brought nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// The task of one stream.
pub(super) struct CatchUp {
    pub(super) hub: Arc<WatchHub>,
    pub(super) stream: StreamKey,
    pub(super) outbox: Arc<Outbox>,
}

/// A lagging watcher, while a page is read for it.
struct Laggard {
    key: WatcherKey,
    spec: Arc<WatchSpec>,
    next: i64,
    places: Vec<u32>,
    bytes: usize,
}

pub(super) async fn run(task: CatchUp) {
    let period = task.hub.options.progress_interval;
    let mut random = SmallRng::seed_from_u64(task.hub.options.seed ^ task.stream);
    let jitter = period.mul_f64(random.random_range(0.0..0.1));
    let mut progress = interval_at(Instant::now() + period + jitter, period + jitter);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = task.outbox.closed() => return,
            _ = progress.tick() => task.hub.state.lock().periodic_progress(task.stream),
            () = task.outbox.wake.notified() => {
                if task.catch_up().await.is_err() {
                    return;
                }
            }
        }
    }
}

impl CatchUp {
    async fn catch_up(&self) -> Result<(), Closed> {
        while let Some((from, laggards)) = self.next_round() {
            let history = Arc::clone(&self.hub.history);
            let read = move || history.events(from, PAGE_REVISIONS, ANSWER_BYTES);
            let page = self.hub.options.executor.run(read).await;
            match page {
                Ok(Ok(page)) => self.deliver(from, page, laggards).await?,
                Ok(Err(StoreError::Compacted)) => {
                    let compacted = self.hub.history.compact_revision();
                    let (gone, left): (Vec<_>, Vec<_>) = laggards
                        .into_iter()
                        .partition(|laggard| laggard.next < compacted);
                    self.put_back(&left);
                    let response = WatchResponse {
                        compact_revision: compacted,
                        ..WatchResponse::default()
                    };
                    self.cancel(gone, response).await?;
                }
                // It would be the same again; who is told can ask another member.
                Ok(Err(error)) if error.is_fatal() => {
                    tracing::error!(%error, revision = from, "watchers are cancelled: the history cannot be read");
                    let response = WatchResponse {
                        cancel_reason: error.to_string(),
                        ..WatchResponse::default()
                    };
                    self.cancel(laggards, response).await?;
                }
                Ok(Err(error)) | Err(error) => {
                    tracing::error!(%error, revision = from, "cannot read the history for a watcher");
                    self.put_back(&laggards);
                    sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// The lagging watcher that has waited longest, and all others of the stream that are at or behind its revision.
    fn next_round(&self) -> Option<(i64, Vec<Laggard>)> {
        let mut state = self.hub.state.lock();
        let state = &mut *state;
        let home = state.streams.get_mut(&self.stream)?;
        let watchers = &state.watchers;
        home.lagging.retain(|key| watchers.contains_key(key));
        let first = home.lagging.front().and_then(|key| watchers.get(key))?;
        let from = first.next;
        let mut laggards = Vec::new();
        home.lagging.retain(|key| {
            let Some(watcher) = watchers.get(key) else {
                return false;
            };
            if watcher.next < from {
                return true;
            }
            laggards.push(Laggard {
                key: *key,
                spec: Arc::clone(&watcher.spec),
                next: watcher.next,
                places: Vec::new(),
                bytes: 0,
            });
            false
        });
        Some((from, laggards))
    }

    fn put_back(&self, laggards: &[Laggard]) {
        let mut state = self.hub.state.lock();
        for laggard in laggards {
            state.end_turn(laggard.key);
        }
    }

    async fn deliver(
        &self,
        from: i64,
        page: EventPage,
        mut laggards: Vec<Laggard>,
    ) -> Result<(), Closed> {
        let end = page.next;
        if end <= from {
            // Published, and not to be found yet.
            self.put_back(&laggards);
            sleep(PAUSE).await;
            return Ok(());
        }
        let list = EventList::new(page.revisions);
        sort_out(&list, &mut laggards, self.hub.options.seed);
        for laggard in laggards {
            let room = if laggard.places.is_empty() {
                None
            } else {
                let weight = weight(laggard.places.len(), laggard.bytes);
                Some(self.outbox.room(weight).await?)
            };
            let mut state = self.hub.state.lock();
            let current = state.current;
            // It may have been cancelled meanwhile.
            let Some(watcher) = state.watchers.get_mut(&laggard.key) else {
                continue;
            };
            if let Some(room) = room {
                let picked = list.pick(laggard.places, laggard.bytes);
                room.send(watcher.queued(picked, current.max(end - 1)));
            }
            watcher.next = watcher.next.max(end);
            state.end_turn(laggard.key);
        }
        Ok(())
    }

    /// Cancels those that would miss something, and tells them what `why` does.
    async fn cancel(&self, laggards: Vec<Laggard>, why: WatchResponse) -> Result<(), Closed> {
        for laggard in laggards {
            let place = self.outbox.place().await?;
            let mut state = self.hub.state.lock();
            let Some(watcher) = state.remove(laggard.key) else {
                continue;
            };
            if let Some(home) = state.streams.get_mut(&self.stream) {
                home.watchers.insert(watcher.id, None);
            }
            // etcd leaves the revision of this answer 0.
            let response = WatchResponse {
                canceled: true,
                header: answer(watcher.id, 0).header,
                watch_id: watcher.id,
                ..why.clone()
            };
            place.send(Queued::control(response));
        }
        Ok(())
    }
}

/// Gives each laggard those events of the page that it wants and has not been given.
fn sort_out(list: &EventList, laggards: &mut [Laggard], seed: u64) {
    let mut index = RangeIndex::new(seed);
    let indexed = laggards.len() > FEW_WATCHERS;
    if indexed {
        for (number, laggard) in laggards.iter().enumerate() {
            index.insert(&laggard.spec.range, number);
        }
    }
    for (place, event, key, revision, bytes) in list.iter() {
        let offer = |laggard: &mut Laggard| {
            if revision >= laggard.next && !laggard.spec.leaves_out(event) {
                laggard.places.push(place);
                laggard.bytes += bytes;
            }
        };
        if indexed {
            index.each(key, |number: usize| {
                if let Some(laggard) = laggards.get_mut(number) {
                    offer(laggard);
                }
            });
        } else {
            for laggard in laggards.iter_mut() {
                if laggard.spec.range.contains(key) {
                    offer(laggard);
                }
            }
        }
    }
}
