//! The handle of a running member.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;

use crate::apply::Outcome;
use crate::error::{Result, StoreError};
use crate::raft::{RaftHandle, StopReason};
use crate::rpc::Engine;
use crate::server::ServerUrl;

/// How long tasks may take to end after they were told to.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// How often that is looked at.
const RELEASE_STEP: Duration = Duration::from_millis(5);

/// A running member. Dropping it ends its listeners at once; [`Node::stop`] does so in good order.
#[derive(Debug)]
pub struct Node {
    pub(super) engine: Arc<Engine>,
    pub(super) raft: RaftHandle<Outcome>,
    pub(super) client_urls: Vec<ServerUrl>,
    pub(super) peer_urls: Vec<ServerUrl>,
    /// Ends the listeners.
    pub(super) stop: DropGuard,
    pub(super) listeners: JoinSet<()>,
    /// What it does by itself.
    pub(super) duties: JoinSet<()>,
    pub(super) stopped: watch::Receiver<Option<StopReason>>,
    /// Whether it has told the cluster its name and serves clients.
    pub(super) ready: watch::Receiver<bool>,
}

impl Node {
    /// The URLs that clients are served at, with the ports that were found free where the settings left the choice.
    pub fn client_urls(&self) -> &[ServerUrl] {
        &self.client_urls
    }

    /// The URLs that peers are served at.
    pub fn peer_urls(&self) -> &[ServerUrl] {
        &self.peer_urls
    }

    /// What requests come to, for callers in the same process.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Waits until this member knows a leader.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when it stops first.
    pub async fn has_leader(&self) -> Result<()> {
        let mut leadership = self.engine.watch_leadership();
        let found = leadership.wait_for(|now| now.leader.is_some()).await;
        found.map(drop).map_err(|_| StoreError::Stopped)
    }

    /// Waits until this member has told the cluster its name and client URLs, and serves clients: that takes a leader, and a
    /// majority that agrees.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when it stops first.
    pub async fn ready(&self) -> Result<()> {
        let mut ready = self.ready.clone();
        let found = ready.wait_for(|ready| *ready).await;
        found.map(drop).map_err(|_| StoreError::Stopped)
    }

    /// Waits until the member cannot go on by itself: `Ok` when it was removed from the cluster.
    ///
    /// # Errors
    /// What its disk or state said.
    pub async fn ended(&self) -> Result<()> {
        let mut stopped = self.stopped.clone();
        let reason = match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        match reason {
            Some(StopReason::Failed(error)) => Err(error),
            Some(StopReason::Removed | StopReason::Shutdown) | None => Ok(()),
        }
    }

    /// Hands leadership on, ends the listeners, and leaves a state that needs no replay.
    ///
    /// # Errors
    /// If the last flush fails.
    pub async fn stop(self) -> Result<()> {
        let Self {
            engine,
            raft,
            stop,
            mut listeners,
            mut duties,
            ..
        } = self;
        if let Err(error) = raft.step_down().await {
            tracing::warn!(%error, "cannot hand leadership on");
        }
        stop.disarm().cancel();
        while listeners.join_next().await.is_some() {}
        duties.shutdown().await;
        raft.shutdown().await;
        let mvcc = Arc::clone(&engine.shared().mvcc);
        let executor = engine.options().executor;
        executor
            .run(move || {
                mvcc.stop();
                mvcc.flush()
            })
            .await??;
        let backend = Arc::downgrade(&engine.shared().backend);
        drop((engine, raft));
        // Whoever starts the member again needs its files, and tasks that have been told to end may not have ended yet.
        let released = async {
            while backend.strong_count() > 0 {
                sleep(RELEASE_STEP).await;
            }
        };
        if timeout(RELEASED_WITHIN, released).await.is_err() {
            tracing::warn!("the state file is still in use");
        }
        tracing::info!("stopped");
        Ok(())
    }
}
