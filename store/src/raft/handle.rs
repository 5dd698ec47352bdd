//! A running member, as the rest of the store sees it.

use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
};

use async_trait::async_trait;
use bytes::BytesMut;
use prost::Message as _;
use revkeep_schemas::{
    etcd_api::etcdserverpb::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse},
    store_api::{
        LeaseTimeToLiveCall, Proposal, ReconfigureRequest, RenewLeaseRequest,
        peer_server::PeerServer, proposal::Command, reconfigure_request,
    },
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    Lead, LeaderDuties, Leadership, PeerMember, PeerService, RaftStatus, StopReason,
    core::Core,
    membership::{self, Change},
    peer::{MESSAGE_LIMIT_BYTES, store_error},
    proposer::{self, Item, QUEUE_BYTES},
    reads::Read,
    transfer, wire,
};
use crate::{Result, StoreError};

/// The field `proposals` of a `Batch`, length-delimited, as protobuf writes it.
const PROPOSALS_TAG: u8 = 0x0a;

/// A running member, as the rest of the store sees it. Clones are the same member.
pub struct RaftHandle<O: Send + 'static> {
    pub(super) core: Arc<Core<O>>,
}

impl<O: Send + 'static> Clone for RaftHandle<O> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

impl<O: Send + 'static> fmt::Debug for RaftHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftHandle")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<O: Send + 'static> RaftHandle<O> {
    /// Proposes a command and waits for its outcome: what the state machine answered when this member applied it.
    ///
    /// Fails as etcd does: `RequestTooLarge`, `TooManyRequests`, `Stopped`, and one of the time-outs when nothing was
    /// applied in time; the command may then still be applied later, once, or never.
    pub async fn propose(&self, command: Command, user: &str, auth_revision: u64) -> Result<O> {
        let core = &self.core;
        let start = Instant::now();
        let proposal = Proposal {
            id: core.fresh_id(),
            user: user.to_owned(),
            auth_revision,
            command: Some(command),
        };
        let id = proposal.id;
        let len = proposal.encoded_len();
        if len > core.config.max_request_bytes {
            return Err(StoreError::RequestTooLarge);
        }
        let mut batch = BytesMut::with_capacity(len + 8);
        batch.extend_from_slice(&[PROPOSALS_TAG]);
        // A buffer that grows has room for anything.
        let _ = proposal.encode_length_delimited(&mut batch);
        let (waiter, outcome) = oneshot::channel();
        core.enqueue(Item {
            batch: batch.freeze(),
            from: proposer::From::Here { proposal, waiter },
        })?;
        // Also when the client goes away.
        let _waiting = Waiting { core, id };
        let deadline = start + core.config.request_timeout();
        let result = tokio::select! {
            biased;
            outcome = timeout_at(deadline, outcome) => match outcome {
                Ok(Ok(outcome)) => return Ok(outcome),
                Ok(Err(_)) => Err(StoreError::Stopped),
                Err(_) => Err(self.timed_out(start)),
            },
            () = core.stopper.stopped() => Err(StoreError::Stopped),
        };
        core.failed_proposals.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Which of etcd's time-outs it was (etcd, `server/etcdserver/server.go`, `parseProposeCtxErr`).
    fn timed_out(&self, start: Instant) -> StoreError {
        let core = &self.core;
        let election = core.config.election;
        if let Some(elected) = *core.elected_at.lock() {
            let lost = elected.checked_sub(election * 2).unwrap_or(elected);
            if start > lost && start < elected {
                return StoreError::TimeoutDueToLeaderFail;
            }
        }
        let now = core.leadership();
        match now.leader {
            Some(leader) if leader != core.config.member_id => {
                if core.contact.held_since(leader, start, election) {
                    StoreError::Timeout
                } else {
                    StoreError::TimeoutDueToConnectionLost
                }
            }
            Some(_) if core.links.is_silenced() => StoreError::TimeoutDueToConnectionLost,
            Some(_) => StoreError::Timeout,
            None => StoreError::NoLeaderInTime,
        }
    }

    /// Waits until this member has applied everything that was agreed on, anywhere in the cluster, when it was called.
    /// What is read from the state then is not stale. Many calls at a time share one round of confirmations.
    ///
    /// Fails with `LeaderChanged` when the leader changed meanwhile, as etcd does, `Timeout` or `Stopped`.
    pub async fn read_index(&self) -> Result<()> {
        let deadline = Instant::now() + self.core.config.request_timeout();
        let wait = async {
            let index = self.core.ask_read_index(false).await?;
            self.core.until_applied(index).await
        };
        timeout_at(deadline, wait)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    /// How this member stands, now.
    pub fn status(&self) -> RaftStatus {
        let core = &self.core;
        let Leadership { role, term, leader } = core.leadership();
        RaftStatus {
            member_id: core.config.member_id,
            cluster_id: core.config.cluster_id,
            role,
            term,
            leader,
            committed: core.marks.committed(),
            applied: *core.applied.borrow(),
            last: core.marks.last(),
            pending: core.waiters.len() as u64,
            leader_changes: core.leader_changes.load(Ordering::Relaxed),
            failed_proposals: core.failed_proposals.load(Ordering::Relaxed),
        }
    }

    /// Who leads; changes seldom.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.core.leadership.subscribe()
    }

    /// The index of the last entry applied here; changes with every entry.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.core.applied.subscribe()
    }

    /// The members, as of the last entry applied here, ascending by id.
    pub fn members(&self) -> Vec<PeerMember> {
        wire::members(self.core.members.borrow().stored.membership())
    }

    /// Whether this member has no vote: a learner, or one not yet added.
    pub fn is_learner(&self) -> bool {
        let me = self.core.config.member_id;
        let node = self.core.node(me);
        node.is_none_or(|node| node.learner)
    }

    /// Adds a member and returns all of them after it. One that votes gets its vote once it has caught up; in all
    /// answers it counts as a voting member at once.
    pub async fn add_member(&self, member: PeerMember) -> Result<Vec<PeerMember>> {
        self.change(Change::Add(member)).await
    }

    /// Makes a learner that has caught up a voting member.
    pub async fn promote_member(&self, id: u64) -> Result<Vec<PeerMember>> {
        self.change(Change::Promote(id)).await
    }

    /// Removes a member, for good: its id never comes back.
    pub async fn remove_member(&self, id: u64) -> Result<Vec<PeerMember>> {
        self.change(Change::Remove(id)).await
    }

    /// Gives a member other peer URLs.
    pub async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<Vec<PeerMember>> {
        let member = PeerMember {
            id,
            peer_urls,
            ..PeerMember::default()
        };
        self.change(Change::Update(member)).await
    }

    /// Here if this member leads, else by the leader.
    async fn change(&self, change: Change) -> Result<Vec<PeerMember>> {
        let core = &self.core;
        let deadline = Instant::now() + core.config.request_timeout();
        loop {
            let changed = if core.leads() {
                let (core, change) = (Arc::clone(core), change.clone());
                // Its own task: who asks may go away, the change should not stop halfway.
                let changing = tokio::spawn(async move { membership::change(&core, change).await });
                changing.await.unwrap_or(Err(StoreError::Stopped))
            } else {
                self.change_at_leader(&change, deadline).await
            };
            match changed {
                Err(StoreError::NotLeader | StoreError::NoLeader) => {}
                other => return other,
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Timeout);
            }
            tokio::time::sleep(core.config.heartbeat).await;
        }
    }

    async fn change_at_leader(
        &self,
        change: &Change,
        deadline: Instant,
    ) -> Result<Vec<PeerMember>> {
        use reconfigure_request::Change as Wanted;
        let leader = self.core.leader_link().ok_or(StoreError::NoLeader)?;
        let message = ReconfigureRequest {
            route: Some(leader.route()),
            change: Some(match change.clone() {
                Change::Add(member) => Wanted::Add(member),
                Change::Promote(id) => Wanted::Promote(id),
                Change::Remove(id) => Wanted::Remove(id),
                Change::Update(member) => Wanted::Update(member),
            }),
        };
        let mut client = leader.client();
        let limit = deadline.saturating_duration_since(Instant::now());
        let answer = leader.call(limit, client.reconfigure(message)).await;
        let members = answer.map_err(|status| store_error(&status))?.members;
        // etcd answers once the member that was asked has applied the change.
        let mut seen = self.core.members.subscribe();
        let applied = seen.wait_for(|seen| wire::members(seen.stored.membership()) == members);
        let soon = Instant::now() + self.core.config.election;
        // It may have moved on already; the change itself is agreed on.
        let _ = timeout_at(soon, applied).await;
        Ok(members)
    }

    /// Hands the lead on to a voting member. Fails with `NotLeader`, `BadLeaderTransferee` or `TimeoutLeaderTransfer`.
    pub async fn transfer_leader(&self, to: u64) -> Result<()> {
        transfer::hand_over(&self.core, to).await
    }

    /// Hands the lead on to the voting member with the longest log, if this one leads and there is another: what a
    /// member does before it stops.
    pub async fn step_down(&self) -> Result<()> {
        if !self.core.leads() {
            return Ok(());
        }
        let me = self.core.config.member_id;
        let membership = self.core.membership();
        let others = membership.voter_ids().filter(|id| *id != me);
        match others.max_by_key(|id| (self.core.has_whole_log(*id), *id)) {
            Some(next) => self.transfer_leader(next).await,
            None => Ok(()),
        }
    }

    /// Who keeps the leases' time on this member; to be called once, before the peer service is offered.
    pub fn set_duties(&self, duties: Arc<dyn LeaderDuties>) {
        duties.set_lead(Arc::new(OwnLead(Arc::downgrade(&self.core))));
        // A second one is a mistake of the caller's that changes nothing.
        let _ = self.core.duties.set(duties);
    }

    /// Renews a lease, at the leader, and returns its TTL. Fails with `NoLeader`, `LeaseNotFound`, `NotPrimary`, ….
    pub async fn renew_lease(&self, id: i64) -> Result<i64> {
        if self.core.leads() {
            let duties = self.core.duties.get().ok_or(StoreError::NotPrimary)?;
            return duties.renew_lease(id).await;
        }
        let leader = self.core.leader_link().ok_or(StoreError::NoLeader)?;
        let message = RenewLeaseRequest {
            route: Some(leader.route()),
            id,
        };
        let mut client = leader.client();
        let limit = self.core.config.request_timeout();
        let answer = leader.call(limit, client.renew_lease(message)).await;
        answer
            .map(|answer| answer.ttl)
            .map_err(|status| store_error(&status))
    }

    /// What is left of a lease, as the leader knows it.
    pub async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse> {
        if self.core.leads() {
            let duties = self.core.duties.get().ok_or(StoreError::NotPrimary)?;
            return duties.lease_time_to_live(request).await;
        }
        let leader = self.core.leader_link().ok_or(StoreError::NoLeader)?;
        let message = LeaseTimeToLiveCall {
            route: Some(leader.route()),
            request: Some(request),
        };
        let mut client = leader.client();
        let limit = self.core.config.request_timeout();
        let answer = leader.call(limit, client.lease_time_to_live(message)).await;
        answer
            .map(|answer| answer.response.unwrap_or_default())
            .map_err(|status| store_error(&status))
    }

    /// Waits until this member has applied what it knows to be agreed on.
    ///
    /// # Errors
    /// [`StoreError::TimeoutWaitAppliedIndex`] when that takes more than a second.
    pub async fn have_applied(&self) -> Result<()> {
        self.core.have_applied().await
    }

    /// The service for the peer port.
    pub fn peer_service(&self) -> PeerServer<PeerService<O>> {
        PeerServer::new(PeerService::new(Arc::clone(&self.core)))
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(usize::MAX)
    }

    /// Why this member no longer takes part; `None` while it does.
    pub fn stopped(&self) -> watch::Receiver<Option<StopReason>> {
        self.core.stopper.subscribe()
    }

    /// Ends this member's part. What it has acknowledged is durable in the log; the state is flushed by its owner.
    pub async fn shutdown(&self) {
        self.core.stopper.stop(StopReason::Shutdown);
        // It reports only that its task was aborted.
        let _ = self.core.raft.shutdown().await;
    }
}

/// Somebody waits for a command, until this is dropped.
struct Waiting<'a, O: Send + 'static> {
    core: &'a Core<O>,
    id: u64,
}

impl<O: Send + 'static> Drop for Waiting<'_, O> {
    fn drop(&mut self) {
        self.core.waiters.remove(self.id);
    }
}

/// Asks without keeping the member alive, which keeps who asks.
struct OwnLead<O: Send + 'static>(Weak<Core<O>>);

#[async_trait]
impl<O: Send + 'static> Lead for OwnLead<O> {
    async fn is_certain(&self) -> bool {
        let Some(core) = self.0.upgrade() else {
            return false;
        };
        core.leads() && core.ask_read_index(true).await.is_ok()
    }
}

impl<O: Send + 'static> Core<O> {
    /// Queues commands. `TooManyRequests` when too many wait already.
    pub(super) fn enqueue(&self, item: Item<O>) -> Result<()> {
        if self.stopper.is_stopped() {
            return Err(StoreError::Stopped);
        }
        let bytes = item.batch.len() as u64;
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let queued = if before > QUEUE_BYTES {
            Err(StoreError::TooManyRequests)
        } else {
            self.items.try_send(item).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::TooManyRequests,
                TrySendError::Closed(_) => StoreError::Stopped,
            })
        };
        if queued.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        queued
    }

    /// The index that a linearizable read must wait for.
    pub(super) async fn ask_read_index(&self, leader_only: bool) -> Result<u64> {
        let (answer, index) = oneshot::channel();
        let read = Read {
            answer,
            deadline: Instant::now() + self.config.request_timeout(),
            leader_only,
        };
        self.reads.try_send(read).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::TooManyRequests,
            TrySendError::Closed(_) => StoreError::Stopped,
        })?;
        index.await.unwrap_or(Err(StoreError::Stopped))
    }
}
