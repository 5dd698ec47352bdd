//! The one mutable object: a hint where the newest base and segment are, and a heartbeat. At most once a minute, and
//! with each base. It may fail: nothing depends on it. It is written by a task of its own, so that a slow store holds up
//! neither segments nor bases.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Front;
use crate::status::{Kind, Monitor};
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

/// How far the vault and the source are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest revision that can be brought back; `None` before there is a base.
    pub durable: Option<Revision>,
    /// The newest revision that the source is known to have.
    pub source: Revision,
}

/// Told of everything that the store acknowledged. Never waits. Only a base wakes the writer: the rest can be many
/// thousands a second, and is looked at when the next head is due.
#[derive(Debug)]
pub struct HeadKeeper {
    state: watch::Sender<State>,
    /// How far the vault reaches, for those who wait for it.
    durable: watch::Sender<Option<Revision>>,
    /// Up to where they wait.
    wanted: watch::Sender<Revision>,
    monitor: Arc<Monitor>,
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
            durable: watch::Sender::new(state.front.durable()),
            state: watch::Sender::new(state),
            wanted: watch::Sender::new(Revision::ZERO),
            monitor: Arc::default(),
        }
    }

    /// Tells this monitor of everything that it is told.
    #[must_use]
    pub fn telling(mut self, monitor: Arc<Monitor>) -> Self {
        self.monitor = monitor;
        self
    }

    /// Where others tell what failed.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// What writes the head; it ends with the keeper.
    #[must_use]
    pub fn writer(&self, target: Target) -> HeadWriter {
        HeadWriter {
            target,
            state: self.state.subscribe(),
            monitor: Arc::clone(&self.monitor),
        }
    }

    /// The newest revision up to which the vault has no hole but recorded ones; `None` before there is a base.
    #[must_use]
    pub fn durable(&self) -> Option<Revision> {
        self.state.borrow().front.durable()
    }

    /// How far the vault and the source are.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.state.borrow();
        let durable = state.front.durable();
        Standing {
            durable,
            source: state.source.max(durable.unwrap_or_default()),
        }
    }

    /// Waits until the vault reaches the revision; gives how far it reaches then.
    pub async fn reached(&self, revision: Revision) -> Revision {
        let mut durable = self.durable.subscribe();
        // The sender is held by `self`, so this ends by the condition alone.
        let _ = durable.wait_for(|durable| *durable >= Some(revision)).await;
        self.durable().unwrap_or(revision)
    }

    fn moved(&self) {
        let now = self.durable();
        self.durable.send_if_modified(|durable| {
            let further = now > *durable;
            *durable = now.max(*durable);
            further
        });
    }

    /// Somebody waits for the vault to reach the revision.
    pub fn want(&self, revision: Revision) {
        self.wanted.send_if_modified(|wanted| {
            let more = revision > *wanted;
            *wanted = revision.max(*wanted);
            more
        });
    }

    /// Up to where somebody waits.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<Revision> {
        self.wanted.subscribe()
    }

    /// The newest base, its compact revision, and how far the vault reaches.
    #[must_use]
    pub fn basis(&self) -> (Revision, Revision, Option<Revision>) {
        let state = self.state.borrow();
        (state.base, state.compact, state.front.durable())
    }

    /// Waits until the vault reaches beyond a revision.
    pub async fn beyond(&self, reached: Option<Revision>) {
        let mut durable = self.durable.subscribe();
        // The sender is held by `self`, so this ends by the condition alone.
        let _ = durable.wait_for(|durable| *durable > reached).await;
    }

    /// A segment is in the vault.
    pub fn segment(&self, first: Revision, last: Revision) {
        self.note(|state| state.front.segment(first, last));
        self.moved();
        self.monitor.stored(Kind::Segment);
    }

    /// A base is in the vault.
    pub fn base(&self, revision: Revision, compact: Revision) {
        self.state.send_modify(|state| {
            state.front.base(revision, compact);
            state.base = state.base.max(revision);
            state.compact = state.compact.max(compact);
            state.bases += 1;
        });
        self.moved();
        self.monitor.stored(Kind::Base);
    }

    /// A range is recorded in the vault as lost.
    pub fn lost(&self, first: Revision, last: Revision) {
        self.note(|state| state.front.lost(first, last));
        self.moved();
        self.monitor.gap_recorded(first, last);
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
    monitor: Arc<Monitor>,
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
        match self.target.cluster.put_head(&head).await {
            Ok(()) => self.monitor.stored(Kind::Head),
            Err(error) => {
                tracing::warn!(%error, "the head was not written; it is a hint, and nothing is lost");
                self.monitor.not_stored(Kind::Head, &error);
            }
        }
        true
    }
}
