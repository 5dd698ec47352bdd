//! Every watcher of the member, and how far each is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb::{ResponseHeader, WatchResponse};

use super::WatchSpec;
use super::events::{EventList, Picked, weight};
use super::index::RangeIndex;
use super::outbox::{Outbox, Queued};
use crate::mvcc::RevisionEvents;

/// An answer takes no further revision once its events have this many bytes.
pub(super) const ANSWER_BYTES: usize = 1 << 20;

/// Names a watcher on this member; never used again.
pub(super) type WatcherKey = u64;
/// Names a stream on this member; never used again.
pub(super) type StreamKey = u64;

/// One watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) stream: StreamKey,
    /// Its id on the stream.
    pub(super) id: i64,
    pub(super) spec: Arc<WatchSpec>,
    pub(super) outbox: Arc<Outbox>,
    /// The first revision that it wants; 0 for the next one.
    start: i64,
    /// The first revision that it has not been given.
    pub(super) next: i64,
    /// Its events come from the history for now, and new ones are not pushed to it.
    pub(super) lagging: bool,
    /// It was given no events since the last periodic progress.
    quiet: bool,
    /// Its place among the answers being made.
    batch: Option<usize>,
}

/// The watchers of one client stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) outbox: Arc<Outbox>,
    /// By id on the stream; `None` for one that was cancelled by a compaction and not by the client: its id stays taken.
    pub(super) watchers: BTreeMap<i64, Option<WatcherKey>>,
    pub(super) next_id: i64,
    /// Those that lag, the one that waits longest in front.
    pub(super) lagging: VecDeque<WatcherKey>,
}

/// Every watcher of the member.
#[derive(Debug)]
pub(super) struct State {
    /// The newest revision that was published.
    pub(super) current: i64,
    pub(super) watchers: HashMap<WatcherKey, Watcher>,
    pub(super) streams: HashMap<StreamKey, Stream>,
    pub(super) lagging: usize,
    next_key: u64,
    index: RangeIndex<WatcherKey>,
    batches: Vec<Batch>,
}

/// The new events of one watcher, from one or more revisions.
#[derive(Debug)]
struct Batch {
    watcher: WatcherKey,
    places: Vec<u32>,
    bytes: usize,
    first: i64,
    last: i64,
}

impl Batch {
    fn new(watcher: WatcherKey, revision: i64) -> Self {
        Self {
            watcher,
            places: Vec::new(),
            bytes: 0,
            first: revision,
            last: revision,
        }
    }

    fn push(&mut self, place: u32, bytes: usize, revision: i64) {
        self.places.push(place);
        self.bytes += bytes;
        self.last = revision;
    }
}

impl State {
    /// No watchers, up to date with `current`; the seed is that of the options.
    pub(super) fn new(current: i64, seed: u64) -> Self {
        Self {
            current,
            watchers: HashMap::new(),
            streams: HashMap::new(),
            lagging: 0,
            next_key: 0,
            index: RangeIndex::new(seed),
            batches: Vec::new(),
        }
    }

    /// A key that was never used.
    pub(super) fn fresh_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Adds a watcher that wants everything from `start` on; 0 is what comes next. Returns whether it has to read the
    /// history first.
    pub(super) fn add(
        &mut self,
        stream: StreamKey,
        id: i64,
        spec: Arc<WatchSpec>,
        start: i64,
    ) -> bool {
        let key = self.fresh_key();
        let Some(home) = self.streams.get_mut(&stream) else {
            return false;
        };
        let lagging = start > 0 && start <= self.current;
        self.index.insert(&spec.range, key);
        home.watchers.insert(id, Some(key));
        if lagging {
            home.lagging.push_back(key);
            self.lagging += 1;
        }
        let watcher = Watcher {
            stream,
            id,
            spec,
            outbox: Arc::clone(&home.outbox),
            start,
            next: if lagging {
                start
            } else {
                start.max(self.current + 1)
            },
            lagging,
            quiet: true,
            batch: None,
        };
        self.watchers.insert(key, watcher);
        lagging
    }

    /// Removes a watcher; its stream still knows its id.
    pub(super) fn remove(&mut self, key: WatcherKey) -> Option<Watcher> {
        let watcher = self.watchers.remove(&key)?;
        self.index.remove(&watcher.spec.range, key);
        if watcher.lagging {
            self.lagging -= 1;
        }
        Some(watcher)
    }

    /// Removes a stream with all its watchers.
    pub(super) fn remove_stream(&mut self, stream: StreamKey) {
        let Some(gone) = self.streams.remove(&stream) else {
            return;
        };
        for key in gone.watchers.into_values().flatten() {
            self.remove(key);
        }
    }

    /// Gives new events to every watcher that is up to date. A client whose queue is full makes its watchers lag; nothing
    /// here waits.
    pub(super) fn publish(&mut self, revisions: Vec<RevisionEvents>) {
        let newest = revisions.last().map_or(0, |last| last.revision);
        self.current = self.current.max(newest);
        if self.watchers.is_empty() {
            return;
        }
        let list = EventList::new(revisions);
        let Self {
            watchers,
            index,
            batches,
            ..
        } = self;
        let mut behind = Vec::new();
        for (place, event, key, revision, bytes) in list.iter() {
            index.each(key, |key| {
                let Some(watcher) = watchers.get_mut(&key) else {
                    return;
                };
                if watcher.lagging || revision < watcher.next || watcher.spec.leaves_out(event) {
                    return;
                }
                let number = *watcher.batch.get_or_insert_with(|| {
                    batches.push(Batch::new(key, revision));
                    batches.len() - 1
                });
                let Some(batch) = batches.get_mut(number) else {
                    return;
                };
                if batch.bytes >= ANSWER_BYTES && batch.last < revision {
                    let full = std::mem::replace(batch, Batch::new(key, revision));
                    if !watcher.give(&list, full) {
                        behind.push(key);
                        return;
                    }
                }
                batch.push(place, bytes, revision);
            });
        }
        for batch in batches.drain(..) {
            let key = batch.watcher;
            if let Some(watcher) = watchers.get_mut(&key) {
                watcher.batch = None;
                if !batch.places.is_empty() && !watcher.give(&list, batch) {
                    behind.push(key);
                }
            }
        }
        for key in behind {
            self.fall_behind(key);
        }
    }

    /// Puts a watcher that has just begun to lag where its stream's task finds it.
    fn fall_behind(&mut self, key: WatcherKey) {
        let Some(watcher) = self.watchers.get(&key) else {
            return;
        };
        self.lagging += 1;
        if let Some(home) = self.streams.get_mut(&watcher.stream) {
            home.lagging.push_back(key);
            home.outbox.wake.notify_one();
        }
    }

    /// Makes every watcher read on from the history, after a snapshot has replaced the store.
    pub(super) fn resync(&mut self) {
        let current = self.current;
        let mut behind = Vec::new();
        for (key, watcher) in &mut self.watchers {
            if !watcher.lagging {
                // Everything published was given or did not concern it.
                watcher.next = watcher.next.max(current + 1);
                watcher.lagging = true;
                behind.push(*key);
            }
        }
        behind.sort_unstable();
        for key in behind {
            self.fall_behind(key);
        }
    }

    /// Whether a watcher that was given everything below its `next` is up to date; if so, new events are pushed to it
    /// from now on. Otherwise it waits for another turn.
    pub(super) fn end_turn(&mut self, key: WatcherKey) {
        let current = self.current;
        let Some(watcher) = self.watchers.get_mut(&key) else {
            return;
        };
        if watcher.next > current {
            watcher.lagging = false;
            self.lagging -= 1;
        } else if let Some(home) = self.streams.get_mut(&watcher.stream) {
            home.lagging.push_back(key);
        }
    }

    /// Tells a stream how far it is, if all its watchers have everything up to there.
    pub(super) fn progress_of_stream(&self, stream: StreamKey) {
        let Some(home) = self.streams.get(&stream) else {
            return;
        };
        let mut watchers = home.watchers.values().flatten().peekable();
        if watchers.peek().is_some()
            && watchers.all(|key| {
                self.watchers
                    .get(key)
                    .is_some_and(|w| self.is_up_to_date(w))
            })
            && let Some(place) = home.outbox.try_place()
        {
            place.send(Queued::control(answer(-1, self.current)));
        }
    }

    /// Tells each watcher of a stream that asked for it how far it is, if it was given nothing since the last time.
    pub(super) fn periodic_progress(&mut self, stream: StreamKey) {
        let Some(home) = self.streams.get(&stream) else {
            return;
        };
        let current = self.current;
        for key in home.watchers.values().flatten() {
            let Some(watcher) = self.watchers.get_mut(key) else {
                continue;
            };
            if !watcher.spec.progress_notify {
                continue;
            }
            if watcher.quiet
                && watcher.is_up_to_date(current)
                && let Some(place) = watcher.outbox.try_place()
            {
                place.send(Queued::control(answer(watcher.id, current)));
            }
            watcher.quiet = true;
        }
    }

    fn is_up_to_date(&self, watcher: &Watcher) -> bool {
        watcher.is_up_to_date(self.current)
    }
}

impl Watcher {
    /// Whether it has been given everything up to `current` and waits for nothing later.
    fn is_up_to_date(&self, current: i64) -> bool {
        !self.lagging && self.start <= current
    }

    /// Queues events for its client. Where there is no room it begins to lag, at the first of them.
    fn give(&mut self, list: &Arc<EventList>, batch: Batch) -> bool {
        let outbox = Arc::clone(&self.outbox);
        let Some(room) = outbox.try_room(weight(batch.places.len(), batch.bytes)) else {
            self.lagging = true;
            self.next = batch.first;
            return false;
        };
        let picked = list.pick(batch.places, batch.bytes);
        room.send(self.queued(picked, batch.last));
        self.next = batch.last + 1;
        true
    }

    /// An answer with events.
    pub(super) fn queued(&mut self, events: Picked, revision: i64) -> Queued {
        self.quiet = false;
        Queued {
            response: answer(self.id, revision),
            events,
            prev_kv: self.spec.prev_kv,
            fragment: self.spec.fragment,
        }
    }
}

/// An answer about a watcher; -1 is all of the stream. Who answers is filled in later.
pub(super) fn answer(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse {
        header: Some(ResponseHeader {
            revision,
            ..ResponseHeader::default()
        }),
        watch_id,
        ..WatchResponse::default()
    }
}
