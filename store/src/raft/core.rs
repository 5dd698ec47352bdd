//! What all parts of a running member share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, mpsc, watch},
    time::{Instant, timeout},
};

use super::{
    LeaderDuties, Leadership, PeerNode, RaftConfig, StateMachine,
    contact::Contact,
    log::Marks,
    peer::{Link, Links},
    proposer::Item,
    reads::Read,
    stop::Stopper,
    types::{Membership, Raft},
    waiters::Waiters,
    wire::Applied,
};
use crate::{Result, StoreError, executor::Executor};

/// How long a leader waits to have applied what is agreed on before it speaks of leases (etcd, `applyTimeout`).
const APPLIED_WITHIN: Duration = Duration::from_secs(1);

/// What all parts of a running member share.
pub(super) struct Core<O: Send + 'static> {
    pub(super) config: RaftConfig,
    pub(super) machine: Arc<dyn StateMachine<Outcome = O>>,
    pub(super) executor: Executor,
    pub(super) raft: Raft,
    pub(super) marks: Arc<Marks>,
    pub(super) links: Arc<Links>,
    pub(super) contact: Contact,
    pub(super) waiters: Arc<Waiters<O>>,
    pub(super) members: Arc<watch::Sender<Arc<Applied>>>,
    pub(super) applied: Arc<watch::Sender<u64>>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) stopper: Stopper,
    pub(super) items: mpsc::Sender<Item<O>>,
    /// Bytes of commands between their client and the log.
    pub(super) queued_bytes: AtomicU64,
    pub(super) reads: mpsc::Sender<Read>,
    pub(super) next_id: AtomicU64,
    pub(super) duties: OnceLock<Arc<dyn LeaderDuties>>,
    /// One change of the members at a time.
    pub(super) reconfiguring: Mutex<()>,
    /// The leader hands its place on and takes no commands meanwhile.
    pub(super) handing_over: AtomicBool,
    /// When the leadership last moved, for etcd's finer time-outs.
    pub(super) elected_at: parking_lot::Mutex<Option<Instant>>,
    pub(super) leader_changes: AtomicU64,
    pub(super) failed_proposals: AtomicU64,
}

impl<O: Send + 'static> Core<O> {
    /// The members as they are from now on, agreed on or not yet.
    pub(super) fn membership(&self) -> Membership {
        let applied = Arc::clone(&self.members.borrow());
        let metrics = self.raft.server_metrics();
        let newest = Arc::clone(&metrics.borrow().membership_config);
        // The library reports a change a moment after it was applied.
        let newest = if applied.stored.log_id() > newest.log_id() {
            &applied.stored
        } else {
            &*newest
        };
        newest.membership().clone()
    }

    pub(super) fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// The node of a member.
    pub(super) fn node(&self, id: u64) -> Option<PeerNode> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics
            .membership_config
            .membership()
            .get_node(&id)
            .cloned()
    }

    /// The link to a member.
    pub(super) fn link(&self, id: u64) -> Option<Arc<Link>> {
        let node = self.node(id)?;
        Some(self.links.to(id, &node))
    }

    /// The leader, when it is another member that can be reached by its addresses.
    pub(super) fn leader_link(&self) -> Option<Arc<Link>> {
        let leader = self.leadership().leader?;
        if leader == self.config.member_id {
            return None;
        }
        self.link(leader)
    }

    /// The newest term this member has seen.
    pub(super) fn term(&self) -> u64 {
        self.raft.server_metrics().borrow().vote.leader_id.term
    }

    /// Whether this member leads and has not lost the majority.
    pub(super) fn leads(&self) -> bool {
        self.leadership().is_leader()
    }

    /// Waits until the entry `index` is applied here.
    pub(super) async fn until_applied(&self, index: u64) -> Result<()> {
        let mut applied = self.applied.subscribe();
        let waited = applied.wait_for(|applied| *applied >= index);
        tokio::select! {
            biased;
            waited = waited => waited.map(drop).map_err(|_| StoreError::Stopped),
            () = self.stopper.stopped() => Err(StoreError::Stopped),
        }
    }

    /// Waits until this member has applied what it knows to be agreed on. A leader does before it speaks of leases: who asks
    /// may have applied more, a lease's grant for one (etcd, `server/lease/leasehttp/http.go`).
    pub(super) async fn have_applied(&self) -> Result<()> {
        let applied = self.until_applied(self.marks.committed());
        let applied = timeout(APPLIED_WITHIN, applied).await;
        applied.unwrap_or(Err(StoreError::TimeoutWaitAppliedIndex))
    }

    pub(super) fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Acquire)
    }

    /// An id that no other command has, for as long as anybody may wait for it.
    pub(super) fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
