//! Changes of the members, one at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers,
    error::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{PeerMember, PeerNode, core::Core, types::Membership, wire};
use crate::{Result, StoreError};

/// A member must have answered for so long to count as healthy (etcd, `server/etcdserver/server.go`, `HealthInterval`).
const HEALTH: Duration = Duration::from_secs(5);

/// A learner is ready when it has this share of the leader's log (etcd, `server/etcdserver/server.go`,
/// `readyPercent`), in percent.
const READY_PERCENT: u64 = 90;

/// A new voting member gets its vote once it is so few entries behind.
const CAUGHT_UP: u64 = 100;

/// How long to wait before a change that found another under way is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A change of the members.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Add(PeerMember),
    Promote(u64),
    Remove(u64),
    Update(PeerMember),
}

/// Makes the change, as the leader, and returns the members after it. Refuses, with etcd's errors, what etcd refuses
/// (etcd, `server/etcdserver/server.go`, `AddMember` and its siblings, and `api/membership/cluster.go`,
/// `ValidateConfigurationChange`).
pub(super) async fn change<O: Send + 'static>(
    core: &Arc<Core<O>>,
    change: Change,
) -> Result<Vec<PeerMember>> {
    let deadline = Instant::now() + core.config.request_timeout();
    let work = async {
        let _one = core.reconfiguring.lock().await;
        if !core.leads() {
            return Err(StoreError::NotLeader);
        }
        finish_pending(core).await?;
        let membership = core.membership();
        let step = plan(core, &membership, &change)?;
        apply(core, step).await?;
        Ok(wire::members(&core.membership()))
    };
    // A change that the majority does not take in time may still be taken later, as in etcd.
    timeout_at(deadline, work)
        .await
        .unwrap_or(Err(StoreError::Timeout))
}

/// The changes of the library for a change of ours.
fn plan<O: Send + 'static>(
    core: &Core<O>,
    membership: &Membership,
    change: &Change,
) -> Result<(ChangeMembers<u64, PeerNode>, bool)> {
    let strict = core.config.strict_reconfig_check;
    let members = Members { core, membership };
    match change {
        Change::Add(member) => {
            let (id, node) = PeerNode::of(member);
            if strict {
                if !node.learner && !members.ready_to_add_voter() {
                    return Err(StoreError::MemberNotEnoughStarted);
                }
                if members.healthy_voters() < members.voters().count() {
                    return Err(StoreError::Unhealthy);
                }
            }
            if membership.get_node(&id).is_some() || core.members.borrow().removed.contains(&id) {
                return Err(StoreError::MemberExists);
            }
            members.check_urls(id, &node.peer_urls)?;
            if node.learner && members.learners() >= core.config.max_learners {
                return Err(StoreError::TooManyLearners);
            }
            // Without a vote at first, see `PeerNode::learner`.
            Ok((ChangeMembers::AddNodes(BTreeMap::from([(id, node)])), true))
        }
        Change::Promote(id) => {
            let node = membership.get_node(id).ok_or(StoreError::MemberNotFound)?;
            if !node.learner {
                return Err(StoreError::MemberNotLearner);
            }
            if core.matched(*id) * 100 <= core.marks.last() * READY_PERCENT {
                return Err(StoreError::LearnerNotReady);
            }
            if strict && !members.ready_to_promote() {
                return Err(StoreError::MemberNotEnoughStarted);
            }
            let node = PeerNode {
                learner: false,
                ..node.clone()
            };
            Ok((ChangeMembers::SetNodes(BTreeMap::from([(*id, node)])), true))
        }
        Change::Remove(id) => {
            let node = membership.get_node(id).ok_or(StoreError::MemberNotFound)?;
            if strict && !node.learner {
                members.check_removal(*id)?;
            }
            let ids = BTreeSet::from([*id]);
            if membership.voter_ids().any(|voter| voter == *id) {
                Ok((ChangeMembers::RemoveVoters(ids), false))
            } else {
                Ok((ChangeMembers::RemoveNodes(ids), false))
            }
        }
        Change::Update(member) => {
            let node = membership.get_node(&member.id);
            let node = node.ok_or(StoreError::MemberNotFound)?;
            members.check_urls(member.id, &member.peer_urls)?;
            let node = PeerNode {
                peer_urls: member.peer_urls.clone(),
                ..node.clone()
            };
            let nodes = BTreeMap::from([(member.id, node)]);
            Ok((ChangeMembers::SetNodes(nodes), true))
        }
    }
}

/// Has the library make a change, and waits until it is applied here.
async fn apply<O: Send + 'static>(
    core: &Core<O>,
    (change, retain): (ChangeMembers<u64, PeerNode>, bool),
) -> Result<()> {
    loop {
        let changed = core.raft.change_membership(change.clone(), retain).await;
        let Err(error) = changed else {
            return Ok(());
        };
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
                return Err(StoreError::LeaderChanged);
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_),
            )) => sleep(PAUSE).await,
            RaftError::APIError(error) => {
                return Err(StoreError::internal_from("change the members", error));
            }
            RaftError::Fatal(_) => return Err(StoreError::Stopped),
        }
    }
}

/// Ends a change that a leader before this one began.
async fn finish_pending<O: Send + 'static>(core: &Core<O>) -> Result<()> {
    let membership = core.membership();
    if membership.get_joint_config().len() < 2 {
        return Ok(());
    }
    apply(core, (ChangeMembers::AddVoterIds(BTreeSet::new()), false)).await
}

/// What the leader does about the members by itself: ends a change that was begun, and gives their vote to voting
/// members that have caught up.
pub(super) fn reconcile<O: Send + 'static>(core: &Arc<Core<O>>) {
    let membership = core.membership();
    core.links.keep(|id| membership.get_node(&id).is_some());
    let ready = ready_voters(core, &membership);
    if ready.is_empty() && membership.get_joint_config().len() < 2 {
        return;
    }
    let core = Arc::clone(core);
    tokio::spawn(async move {
        let Ok(_one) = core.reconfiguring.try_lock() else {
            return;
        };
        let work = async {
            finish_pending(&core).await?;
            let ready = ready_voters(&core, &core.membership());
            if ready.is_empty() {
                return Ok(());
            }
            apply(&core, (ChangeMembers::AddVoterIds(ready), true)).await
        };
        let deadline = Instant::now() + core.config.request_timeout();
        if let Ok(Err(error)) = timeout_at(deadline, work).await {
            tracing::info!(%error, "a change of the members has to wait");
        }
    });
}

/// Voting members without a vote that have caught up and answer.
fn ready_voters<O: Send + 'static>(core: &Core<O>, membership: &Membership) -> BTreeSet<u64> {
    let last = core.marks.last();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let waiting = membership
        .nodes()
        .filter(|(id, node)| !node.learner && !voters.contains(id));
    waiting
        .map(|(id, _)| *id)
        .filter(|id| core.healthy_since(*id).is_some())
        .filter(|id| core.matched(*id) > 0 && core.matched(*id) + CAUGHT_UP >= last)
        .collect()
}

impl<O: Send + 'static> Core<O> {
    /// The index up to which a member has the leader's log; 0 if this member does not lead.
    fn matched(&self, id: u64) -> u64 {
        if id == self.config.member_id {
            return self.marks.last();
        }
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow();
        let replication = metrics.replication.as_ref();
        let matched = replication.and_then(|all| all.get(&id)).copied().flatten();
        super::types::position_or_origin(matched.as_ref()).index
    }

    pub(super) fn has_whole_log(&self, id: u64) -> bool {
        self.matched(id) >= self.marks.last()
    }

    fn healthy_since(&self, id: u64) -> Option<Instant> {
        let link = self.links.known(id)?;
        link.healthy_since(self.config.election)
    }
}

/// What etcd's checks look at.
struct Members<'a, O: Send + 'static> {
    core: &'a Core<O>,
    membership: &'a Membership,
}

impl<O: Send + 'static> Members<'_, O> {
    /// The members that vote, or will once they have caught up.
    fn voters(&self) -> impl Iterator<Item = u64> {
        let nodes = self.membership.nodes();
        nodes.filter(|(_, node)| !node.learner).map(|(id, _)| *id)
    }

    fn learners(&self) -> usize {
        let nodes = self.membership.nodes();
        nodes.filter(|(_, node)| node.learner).count()
    }

    fn started(&self, id: u64) -> bool {
        let named = self.membership.get_node(&id);
        named.is_some_and(|node| !node.name.is_empty()) || self.core.machine.is_started(id)
    }

    /// etcd, `IsReadyToAddVotingMember`: the started ones are a majority also with one more; a single member may always
    /// get a second.
    fn ready_to_add_voter(&self) -> bool {
        let started = self.voters().filter(|id| self.started(*id)).count();
        let after = self.voters().count() + 1;
        (started == 1 && after == 2) || started > after / 2
    }

    /// etcd, `IsReadyToPromoteMember`: the same, with the learner as one of them.
    fn ready_to_promote(&self) -> bool {
        let started = self.voters().filter(|id| self.started(*id)).count() + 1;
        let after = self.voters().count() + 1;
        started > after / 2
    }

    /// etcd, `mayRemoveMember`: the started ones that stay are a majority of those that stay, and so are the healthy
    /// ones, unless the one that goes does not answer anyway.
    fn check_removal(&self, id: u64) -> Result<()> {
        let stay = self.voters().filter(|voter| *voter != id).count();
        let started = self
            .voters()
            .filter(|voter| *voter != id && self.started(*voter));
        let started = started.count();
        if started <= stay / 2 {
            return Err(StoreError::MemberNotEnoughStarted);
        }
        if id != self.core.config.member_id && self.core.healthy_since(id).is_none() {
            return Ok(());
        }
        let all = self.voters().count();
        if self.healthy_voters() < 2 + all.saturating_sub(1) / 2 {
            return Err(StoreError::Unhealthy);
        }
        Ok(())
    }

    /// The voting members that have answered for [`HEALTH`]; this one always does.
    fn healthy_voters(&self) -> usize {
        let before = Instant::now().checked_sub(HEALTH);
        self.voters()
            .filter(|id| {
                *id == self.core.config.member_id
                    || self
                        .core
                        .healthy_since(*id)
                        .is_some_and(|since| before.is_some_and(|before| since <= before))
            })
            .count()
    }

    fn check_urls(&self, id: u64, urls: &[String]) -> Result<()> {
        let mut others = self.membership.nodes().filter(|(other, _)| **other != id);
        let taken = others.any(|(_, node)| node.peer_urls.iter().any(|url| urls.contains(url)));
        if taken {
            return Err(StoreError::PeerUrlExists);
        }
        Ok(())
    }
}
