//! Who leads, and when somebody else should.

use std::{sync::Arc, time::Duration};

use openraft::ServerState;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{Leadership, Role, StopReason, campaign, core::Core, membership, peer::Links};

/// Looks after the leadership at a steady beat, and at once when the library reports a change.
pub(super) async fn run<O: Send + 'static>(core: Arc<Core<O>>) {
    let mut watchdog = Watchdog::new(Arc::clone(&core));
    let mut reports = core.raft.server_metrics();
    let beat = core.config.heartbeat / 2;
    loop {
        tokio::select! {
            biased;
            () = core.stopper.stopped() => return,
            changed = reports.changed() => if changed.is_err() { return },
            () = sleep(beat) => {}
        }
        watchdog.look().await;
    }
}

struct Watchdog<O: Send + 'static> {
    core: Arc<Core<O>>,
    random: StdRng,
    /// How long this member waits since the last reason to, before it stands for election.
    patience: Duration,
    /// Since when the library has said that this member leads.
    leads_since: Option<Instant>,
    reconciled: Instant,
}

impl<O: Send + 'static> Watchdog<O> {
    fn new(core: Arc<Core<O>>) -> Self {
        let mut random = StdRng::seed_from_u64(core.config.seed);
        // After a start there may be no leader at all: it need not take a whole election's time to notice. If there is
        // one, the others deny the trial vote.
        let election = core.config.election;
        let patience = random.random_range(election / 10..election / 2);
        Self {
            core,
            random,
            patience,
            leads_since: None,
            reconciled: Instant::now(),
        }
    }

    fn election(&self) -> Duration {
        self.core.config.election
    }

    /// Draws another patience, between one and two times the election's time (etcd's raft,
    /// `resetRandomizedElectionTimeout`).
    fn be_patient(&mut self) {
        let election = self.election();
        self.patience = self.random.random_range(election..election * 2);
    }

    /// When this member stands for election, unless there is a reason to wait before.
    fn stands_at(&self) -> Instant {
        self.core.contact.calmed() + self.patience
    }

    async fn look(&mut self) {
        let core = Arc::clone(&self.core);
        let (state, vote, leader, quorum_ack, failure) = {
            let metrics = core.raft.metrics();
            let metrics = metrics.borrow();
            (
                metrics.state,
                metrics.vote,
                metrics.current_leader,
                metrics.millis_since_quorum_ack,
                metrics.running_state.clone().err(),
            )
        };
        if let Some(failure) = failure {
            core.stopper.fail(crate::StoreError::internal_from(
                "consensus has stopped",
                failure,
            ));
            return;
        }
        let leads = state == ServerState::Leader;
        self.leads_since = match (leads, self.leads_since) {
            (true, None) => Some(Instant::now()),
            (true, since) => since,
            (false, _) => {
                core.links.set_silenced(false);
                None
            }
        };
        if leads && !core.links.is_silenced() {
            self.check_majority(&core.links, quorum_ack);
        }
        let is_voter = {
            let membership = core.membership();
            membership.voter_ids().any(|id| id == core.config.member_id)
        };
        let silenced = core.links.is_silenced();
        let heard = core.contact.leader_within(self.election());
        let now = Leadership {
            role: match state {
                ServerState::Leader if !silenced => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                _ if !is_voter => Role::Learner,
                _ => Role::Follower,
            },
            term: vote.leader_id.term,
            leader: match leader {
                Some(id) if id == core.config.member_id => (leads && !silenced).then_some(id),
                Some(id) => (heard == Some(id)).then_some(id),
                None => None,
            },
        };
        if now.leader.is_some() && now.leader != core.leadership().leader {
            self.be_patient();
        }
        self.publish(now);

        if now.leader.is_some() {
            if now.is_leader() {
                core.contact.calm();
            }
            if now.is_leader() && self.reconciled.elapsed() >= core.config.heartbeat * 2 {
                self.reconciled = Instant::now();
                membership::reconcile(&core);
            }
            return;
        }
        // Without a vote it asks too: a member that was removed may never have got the entry that says so, and hears
        // of it now.
        if Instant::now() >= self.stands_at() && !core.stopper.is_stopped() {
            core.contact.calm();
            self.be_patient();
            let mut reports = core.raft.server_metrics();
            let trial = tokio::select! {
                biased;
                trial = campaign::try_vote(&core) => trial,
                // Somebody else stands already, and what comes of it must be seen at once.
                _ = reports.wait_for(|now| now.vote.leader_id.term > vote.leader_id.term) => {
                    campaign::Trial::Lost
                }
            };
            match trial {
                campaign::Trial::Won if is_voter => {
                    campaign::stand(&core, leads).await;
                    core.contact.calm();
                }
                campaign::Trial::Won | campaign::Trial::Lost => {}
                campaign::Trial::Removed => core.stopper.stop(StopReason::Removed),
            }
        }
    }

    /// A leader that has not heard of the majority for an election's time falls silent, and counts as none (etcd's
    /// check-quorum).
    fn check_majority(&self, links: &Links, quorum_ack: Option<u64>) {
        let since = self
            .leads_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        let silent = quorum_ack.map_or(since, Duration::from_millis);
        if silent.min(since) > self.election() {
            tracing::warn!("this leader has lost the majority and stands back");
            links.set_silenced(true);
        }
    }

    fn publish(&self, now: Leadership) {
        let core = &self.core;
        core.leadership.send_if_modified(|current| {
            let changed = *current != now;
            if now.leader.is_some() && now.leader != current.leader {
                *core.elected_at.lock() = Some(Instant::now());
                core.leader_changes
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            if changed {
                tracing::info!(role = ?now.role, term = now.term, leader = ?now.leader, "leadership");
            }
            *current = now;
            changed
        });
    }
}
