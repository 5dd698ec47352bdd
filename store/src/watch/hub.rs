//! The one place that knows all watchers of a member.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::catch_up::CatchUp;
use super::outbox::Outbox;
use super::receiver::WatchReceiver;
use super::state::{State, Stream, StreamKey};
use super::stream::WatchStream;
use super::{History, catch_up};
use crate::executor::Executor;
use crate::mvcc::RevisionEvents;

/// How watching works.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// How often watchers that asked for it are told how far they are while nothing happens. A random tenth is added, so
    /// that not all streams are told at once.
    pub progress_interval: Duration,
    /// Answers to watchers that allow fragments are cut when they reach this many bytes.
    pub fragment_bytes: usize,
    /// The most answers that wait for one client.
    pub queue_answers: usize,
    /// The most bytes of events that wait for one client, unless a single answer has more.
    pub queue_bytes: usize,
    /// Where the history is read.
    pub executor: Executor,
    /// Decides what is left to chance: when each stream is told how far it is, and how the index of ranges is balanced.
    /// Nobody should be able to foresee it; a simulation derives it from its own.
    pub seed: u64,
}

impl WatchOptions {
    /// etcd's default interval (etcd, `server/etcdserver/api/v3rpc/watch.go`).
    pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
    /// The shortest interval that etcd accepts.
    pub const MIN_PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
    /// etcd's limit for its default `--max-request-bytes`: those and 512 KiB.
    pub const FRAGMENT_BYTES: usize = (1536 + 512) << 10;
    /// etcd's queue of a client (etcd, `server/mvcc/watchable_store.go`, `chanBufLen`).
    pub const QUEUE_ANSWERS: usize = 128;
    /// The memory that a client may cost that does not read.
    pub const QUEUE_BYTES: usize = 4 << 20;
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            progress_interval: Self::PROGRESS_INTERVAL,
            fragment_bytes: Self::FRAGMENT_BYTES,
            queue_answers: Self::QUEUE_ANSWERS,
            queue_bytes: Self::QUEUE_BYTES,
            executor: Executor::default(),
            seed: rand::random(),
        }
    }
}

/// How much watching is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// Streams of clients.
    pub streams: usize,
    /// Watchers on all of them.
    pub watchers: usize,
    /// Watchers that read the history for now.
    pub slow_watchers: usize,
}

/// All watchers of a member.
///
/// The applier [publishes](Self::publish) the events of every entry; each client has a [stream](Self::stream). Both sides
/// meet under one lock that nothing waits under.
pub struct WatchHub {
    pub(super) history: Arc<dyn History>,
    pub(super) options: WatchOptions,
    pub(super) state: Mutex<State>,
}

impl std::fmt::Debug for WatchHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchHub")
            .field("options", &self.options)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl WatchHub {
    /// A hub without watchers, up to date with `history`.
    pub fn new(history: Arc<dyn History>, options: WatchOptions) -> Arc<Self> {
        let state = Mutex::new(State::new(history.revision(), options.seed));
        Arc::new(Self {
            history,
            options,
            state,
        })
    }

    /// Gives new events to the watchers: all those of one or more revisions, in order. Never waits for a client.
    pub fn publish(&self, revisions: Vec<RevisionEvents>) {
        if !revisions.is_empty() {
            self.state.lock().publish(revisions);
        }
    }

    /// Lets every watcher read on from the history, after a snapshot has replaced the store.
    pub fn resync(&self) {
        let revision = self.history.revision();
        let mut state = self.state.lock();
        state.resync();
        state.current = state.current.max(revision);
    }

    /// A stream for a new client: the end that takes its requests, and the end with the answers. Must be called on the
    /// runtime, where the stream's own task runs until the answers' end is dropped.
    pub fn stream(self: &Arc<Self>) -> (WatchStream, WatchReceiver) {
        let (outbox, queue) = Outbox::new(self.options.queue_answers, self.options.queue_bytes);
        let outbox = Arc::new(outbox);
        let key = {
            let mut state = self.state.lock();
            let key = state.fresh_key();
            let stream = Stream {
                outbox: Arc::clone(&outbox),
                watchers: std::collections::BTreeMap::new(),
                next_id: 0,
                lagging: std::collections::VecDeque::new(),
            };
            state.streams.insert(key, stream);
            key
        };
        let task = tokio::spawn(catch_up::run(CatchUp {
            hub: Arc::clone(self),
            stream: key,
            outbox: Arc::clone(&outbox),
        }));
        let guard = StreamGuard {
            hub: Arc::clone(self),
            stream: key,
            task: task.abort_handle(),
        };
        let receiver = WatchReceiver::new(queue, guard);
        let stream = WatchStream::new(Arc::clone(self), key, outbox);
        (stream, receiver)
    }

    /// How much is going on.
    pub fn stats(&self) -> WatchStats {
        let state = self.state.lock();
        WatchStats {
            streams: state.streams.len(),
            watchers: state.watchers.len(),
            slow_watchers: state.lagging,
        }
    }

    /// The newest revision that was published.
    pub fn revision(&self) -> i64 {
        self.state.lock().current
    }
}

/// Ends a stream with all its watchers when it is dropped.
#[derive(Debug)]
pub(super) struct StreamGuard {
    pub(super) hub: Arc<WatchHub>,
    stream: StreamKey,
    task: AbortHandle,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.task.abort();
        self.hub.state.lock().remove_stream(self.stream);
    }
}
