//! The one mutable object: a hint where the newest base and segment are, and a heartbeat. At most once a minute, and
//! with each base. It may fail: nothing depends on it.

use std::time::{Duration, Instant};

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use tokio::sync::{Mutex, watch};

use crate::target::Target;

const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct State {
    base: Revision,
    compact: Revision,
    written: Option<Instant>,
}

/// Writes the head.
#[derive(Debug)]
pub struct HeadKeeper {
    target: Target,
    durable: watch::Sender<Revision>,
    state: Mutex<State>,
}

impl HeadKeeper {
    /// Starts from what the vault holds.
    #[must_use]
    pub fn new(target: Target, base: Revision, durable: Revision) -> Self {
        Self {
            target,
            durable: watch::Sender::new(durable),
            state: Mutex::new(State {
                base,
                compact: Revision::ZERO,
                written: None,
            }),
        }
    }

    /// The newest revision that the vault acknowledged, to be followed.
    pub fn follow(&self) -> watch::Receiver<Revision> {
        self.durable.subscribe()
    }

    /// A segment up to `revision` is in the vault.
    pub async fn durable(&self, revision: Revision) {
        self.durable.send_if_modified(|durable| {
            let grown = revision > *durable;
            *durable = revision.max(*durable);
            grown
        });
        let mut state = self.state.lock().await;
        if state
            .written
            .is_none_or(|written| written.elapsed() >= INTERVAL)
        {
            self.write(&mut state).await;
        }
    }

    /// A base is in the vault.
    pub async fn base(&self, revision: Revision, compact: Revision) {
        let mut state = self.state.lock().await;
        state.base = state.base.max(revision);
        state.compact = state.compact.max(compact);
        self.write(&mut state).await;
    }

    async fn write(&self, state: &mut State) {
        state.written = Some(Instant::now());
        let durable = (*self.durable.borrow()).max(state.base);
        let head = Head {
            timeline: self.target.timeline.id(),
            base_revision: state.base,
            durable_revision: durable,
            heartbeat_unix_ms: Utc::now().timestamp_millis(),
            source_revision: durable,
            compact_revision: state.compact,
        };
        if let Err(error) = self.target.cluster.put_head(&head).await {
            tracing::warn!(%error, "the head was not written; it is a hint, and nothing is lost");
        }
    }
}
