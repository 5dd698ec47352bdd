//! The one mutable object: a hint where the newest base and segment are, and a heartbeat. At most once a minute, and
//! with each base. It may fail: nothing depends on it. It is written by a task of its own, so that a slow store holds up
//! neither segments nor bases.

use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Front;
use crate::target::Target;

/// Between two heads, unless there is a new base.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
struct State {
    front: Front,
    base: Revision,
    compact: Revision,
    source: Revision,
    bases: u64,
}

impl State {
    fn head(&self, target: &Target) -> Option<Head> {
        let durable = self.front.durable()?;
        Some(Head {
            timeline: target.timeline.id(),
            base_revision: self.base,
            durable_revision: durable,
            heartbeat_unix_ms: Utc::now().timestamp_millis(),
            source_revision: self.source.max(durable),
            compact_revision: self.compact,
        })
    }
}

/// Told of everything that the store acknowledged. Never waits. Only a base wakes the writer: the rest can be many
/// thousands a second, and is looked at when the next head is due.
#[derive(Debug)]
pub struct HeadKeeper {
    state: watch::Sender<State>,
}

impl HeadKeeper {
    /// Starts from what the vault holds: its newest base, that base's compact revision, and how far it reaches.
    #[must_use]
    pub fn new(base: Revision, compact: Revision, durable: Option<Revision>) -> Self {
        let state = State {
            front: Front::new(durable),
            base,
            compact,
            ..State::default()
        };
        Self {
            state: watch::Sender::new(state),
        }
    }

    /// What writes the head; it ends with the keeper.
    #[must_use]
    pub fn writer(&self, target: Target) -> HeadWriter {
        HeadWriter {
            target,
            state: self.state.subscribe(),
        }
    }

    /// The newest revision up to which the vault has no hole but recorded ones; `None` before there is a base.
    #[must_use]
    pub fn durable(&self) -> Option<Revision> {
        self.state.borrow().front.durable()
    }

    /// A segment is in the vault.
    pub fn segment(&self, first: Revision, last: Revision) {
        self.note(|state| state.front.segment(first, last));
    }

    /// A base is in the vault.
    pub fn base(&self, revision: Revision, compact: Revision) {
        self.state.send_modify(|state| {
            state.front.base(revision, compact);
            state.base = state.base.max(revision);
            state.compact = state.compact.max(compact);
            state.bases += 1;
        });
    }

    /// A range is recorded in the vault as lost.
    pub fn lost(&self, first: Revision, last: Revision) {
        self.note(|state| state.front.lost(first, last));
    }

    /// The source stands at least here.
    pub fn source_at(&self, revision: Revision) {
        self.note(|state| state.source = state.source.max(revision));
    }

    fn note(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            change(state);
            false
        });
    }
}

/// Writes the head.
#[derive(Debug)]
pub struct HeadWriter {
    target: Target,
    state: watch::Receiver<State>,
}

impl HeadWriter {
    /// Writes it with each base and once a minute until `done`, and then once more.
    pub async fn run(mut self, done: CancellationToken) {
        let mut due = Instant::now();
        let mut bases = self.state.borrow().bases;
        loop {
            let changed = tokio::select! {
                () = done.cancelled() => break,
                () = tokio::time::sleep_until(due) => Ok(()),
                changed = self.state.changed() => changed,
            };
            if changed.is_err() {
                break;
            }
            let state = self.state.borrow_and_update().clone();
            if (state.bases != bases || Instant::now() >= due) && self.write(&state).await {
                bases = state.bases;
                due = Instant::now() + INTERVAL;
            } else if Instant::now() >= due {
                due = Instant::now() + INTERVAL;
            }
        }
        let state = self.state.borrow().clone();
        self.write(&state).await;
    }

    /// Says whether there was something to write.
    async fn write(&self, state: &State) -> bool {
        let Some(head) = state.head(&self.target) else {
            return false;
        };
        if let Err(error) = self.target.cluster.put_head(&head).await {
            tracing::warn!(%error, "the head was not written; it is a hint, and nothing is lost");
        }
        true
    }
}
