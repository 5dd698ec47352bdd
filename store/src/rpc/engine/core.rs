//! The engine itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use revkeep_schemas::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use revkeep_schemas::etcd_api::etcdserverpb::{AlarmRequest, AlarmType};
use revkeep_schemas::store_api::proposal::Command;
use tokio::sync::watch;

use crate::apply::quota::Quota;
use crate::apply::{Outcome, Propose, Response, Shared};
use crate::auth::AuthInfo;
use crate::error::{Result, StoreError};
use crate::executor::Executor;
use crate::raft::{Leadership, RaftHandle};

/// Who sent a request: `None` where nobody is known, because authentication is off or no credentials came.
pub type Caller = Option<AuthInfo>;

/// How requests are carried out.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// This cluster.
    pub cluster_id: u64,
    /// This member.
    pub member_id: u64,
    /// The most bytes of one request.
    pub max_request_bytes: usize,
    /// The most operations of one transaction.
    pub max_txn_ops: usize,
    /// How large the database may grow.
    pub quota: Quota,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a follower waits for a leader before it stands for election.
    pub election_timeout: Duration,
    /// Where snapshots are written before they are sent.
    pub scratch: PathBuf,
    /// Where reads of many rows happen.
    pub executor: Executor,
    /// The time of day, of which the ids of new members are made.
    pub clock: fn() -> SystemTime,
}

/// Carries requests out. Shared by all services of a member.
#[derive(Debug)]
pub struct Engine {
    pub(super) options: EngineOptions,
    pub(super) shared: Shared,
    pub(super) raft: RaftHandle<Outcome>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) ranges: AtomicU64,
}

impl Engine {
    /// An engine over a running member.
    pub fn new(options: EngineOptions, shared: Shared, raft: RaftHandle<Outcome>) -> Arc<Self> {
        Arc::new(Self {
            leadership: raft.leadership(),
            ranges: AtomicU64::new(0),
            options,
            shared,
            raft,
        })
    }

    /// The settings.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The state that requests read.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How many ranges were read since the member started.
    pub fn ranges(&self) -> u64 {
        self.ranges.load(Ordering::Relaxed)
    }

    /// Consensus.
    pub fn raft(&self) -> &RaftHandle<Outcome> {
        &self.raft
    }

    /// Who leads, now.
    pub fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// Who leads, and every change of it.
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Whether this member has no vote.
    pub fn is_learner(&self) -> bool {
        self.shared
            .members
            .get(self.options.member_id)
            .is_some_and(|member| member.is_learner)
    }

    /// Refuses what needs a leader while none is known (`hasleader`).
    pub fn require_leader(&self) -> Result<()> {
        match self.leadership().leader {
            Some(_) => Ok(()),
            None => Err(StoreError::NoLeader),
        }
    }

    /// Proposes a command and waits until this member has applied it.
    pub(super) async fn propose(&self, command: Command, caller: Caller) -> Result<Response> {
        let AuthInfo { user, revision } = caller.unwrap_or_default();
        let outcome = self.raft.propose(command, &user, revision).await?;
        // Found full only when it was applied: the alarm keeps the next one from being tried (etcd,
        // `server/etcdserver/server.go`, `applyEntryNormal`).
        if matches!(outcome, Err(StoreError::NoSpace))
            && !self.shared.alarms.is_raised(AlarmType::Nospace)
        {
            self.raise_no_space().await;
        }
        outcome
    }

    /// Raises the alarm that lets all members refuse what needs room.
    pub(super) async fn raise_no_space(&self) {
        let mut alarm = AlarmRequest {
            member_id: self.options.member_id,
            ..AlarmRequest::default()
        };
        alarm.set_action(AlarmAction::Activate);
        alarm.set_alarm(AlarmType::Nospace);
        let AuthInfo { user, revision } = self.shared.auth.internal();
        let raised = self
            .raft
            .propose(Command::Alarm(alarm), &user, revision)
            .await;
        if let Err(error) | Ok(Err(error)) = raised {
            tracing::warn!(%error, "cannot raise the alarm that the database is full");
        }
    }
}

/// Commands of the store's own.
#[async_trait::async_trait]
impl Propose for Engine {
    async fn propose(&self, command: Command) -> Result<Response> {
        let internal = self.shared.auth.internal();
        Self::propose(self, command, Some(internal)).await
    }
}

/// An outcome of another kind than the command's: a fault of the store.
pub(super) fn mismatch(outcome: &Response) -> StoreError {
    StoreError::internal(format!("the command came to something else: {outcome:?}"))
}
