//! How far the vault and the source are. The head, the one mutable object that says so to others, is written by
//! [`TurnTask`](crate::turn::TurnTask), a task of its own, so that a slow store holds up neither segments nor bases.

use std::sync::Arc;

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use tokio::sync::{Notify, watch};

use super::Front;
use crate::status::{Kind, LastBase, Monitor};

#[derive(Clone, Debug, Default)]
struct State {
    front: Front,
    base: Revision,
    compact: Revision,
    source: Revision,
}

/// How far the vault and the source are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest revision that can be brought back; `None` before there is a base.
    pub durable: Option<Revision>,
    /// The newest revision that the source is known to have.
    pub source: Revision,
}

/// Told of everything that the store acknowledged. Never waits.
#[derive(Debug)]
pub struct HeadKeeper {
    state: watch::Sender<State>,
    /// How far the vault reaches, for those who wait for it.
    durable: watch::Sender<Option<Revision>>,
    /// Up to where they wait.
    wanted: watch::Sender<Revision>,
    /// Wakes who writes the head.
    based: Notify,
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
            based: Notify::new(),
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

    /// What lies between the durable revision and `below` and is not recorded as lost; nothing before there is a base.
    #[must_use]
    pub fn lacks(&self, below: Revision) -> Vec<(Revision, Revision)> {
        self.state.borrow().front.lacks(below)
    }

    /// What the vault holds: up to the durable revision, and the segments beyond a hole; nothing before there is a base.
    #[must_use]
    pub fn held(&self) -> Option<(Revision, Vec<(Revision, Revision)>)> {
        let state = self.state.borrow();
        let durable = state.front.durable()?;
        Some((durable, state.front.beyond().collect()))
    }

    /// The vault was looked at: it has this segment.
    pub fn holds(&self, first: Revision, last: Revision) {
        self.note(|state| state.front.segment(first, last));
        self.moved();
    }

    /// The vault was looked at: it has a base, and reaches this far.
    pub fn found(&self, durable: Revision) {
        self.note(|state| state.front.found(durable));
        self.moved();
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
        });
        self.based.notify_one();
        self.moved();
        self.monitor.stored(Kind::Base);
    }

    /// Waits for a base that was stored since this was last waited for.
    pub(crate) async fn based(&self) {
        self.based.notified().await;
    }

    /// Another agent's head tells of the same timeline.
    pub fn told(&self, head: &Head) {
        let newer = head.base_revision > self.state.borrow().base;
        self.note(|state| {
            state.front.covered(head.durable_revision);
            state.base = state.base.max(head.base_revision);
            state.compact = state.compact.max(head.compact_revision);
            state.source = state.source.max(head.source_revision);
        });
        self.moved();
        if newer {
            self.monitor.base(LastBase {
                revision: head.base_revision,
                compact_revision: head.compact_revision,
                // It is there since a moment ago, or a little longer.
                taken_unix_ms: head.heartbeat_unix_ms,
            });
        }
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
