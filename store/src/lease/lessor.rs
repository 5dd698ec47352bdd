//! The time of the leases: who leads keeps it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use revkeep_schemas::etcd_api::etcdserverpb::{
    LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use revkeep_schemas::store_api::proposal::Command;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::deadlines::{Deadlines, after};
use super::{Lease, LeaseTable};
use crate::apply::Propose;
use crate::error::{Result, StoreError};
use crate::raft::Lead;

/// The most leases ended a second (etcd, `server/lease/lessor.go`).
const REVOKES_A_SECOND: usize = 1_000;
/// How often leases are ended, at most; half of a second's number each time.
const ROUND: Duration = Duration::from_millis(500);
/// How many ends are under way at once.
const REVOKES_AT_ONCE: usize = 16;
/// The most leases noted down in one log entry.
const CHECKPOINTS_AN_ENTRY: usize = 1_000;
/// When the end of a lease is asked for again that is still there.
const RETRY: Duration = Duration::from_secs(3);

/// How the leases' time is kept.
#[derive(Clone, Copy, Debug)]
pub struct LessorOptions {
    /// The shortest time granted, in seconds: see [`LessorOptions::min_ttl`].
    pub min_ttl: i64,
    /// How long a new leader extends every lease, to make up for the time without a leader: etcd takes the election
    /// timeout.
    pub extend: Duration,
    /// Whether, and how often, the leader notes down in the log what is left of long leases, so that a change of the leader
    /// does not renew them. Off in etcd 3.5 unless asked for.
    pub checkpoint_interval: Option<Duration>,
}

impl LessorOptions {
    /// How often leases are noted down where that is on.
    pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

    /// The options that follow from the election timeout; no checkpoints.
    pub fn new(election_timeout: Duration) -> Self {
        Self {
            min_ttl: Self::min_ttl(election_timeout),
            extend: election_timeout,
            checkpoint_interval: None,
        }
    }

    /// One and a half election timeouts, in whole seconds upwards: a lease must outlive a change of the leader (etcd,
    /// `server/etcdserver/server.go`).
    pub fn min_ttl(election_timeout: Duration) -> i64 {
        let millis = election_timeout.as_millis().saturating_mul(3) / 2;
        i64::try_from(millis.div_ceil(1_000)).unwrap_or(i64::MAX)
    }
}

/// Keeps the leases' time while this member leads: renews them, ends them, tells what is left.
///
/// Which leases there are, and which keys hang on them, is the same on every member and changes only by the log; when
/// they end is known to the leader alone. A new leader gives every lease its full time again, or what was left at its last
/// checkpoint.
pub struct Lessor {
    table: Arc<dyn LeaseTable>,
    options: LessorOptions,
    /// Present while this member leads.
    primary: Mutex<Option<Deadlines>>,
    /// Something may be due earlier than before.
    wake: Notify,
    /// A lease is gone, or this member leads no longer.
    endings: watch::Sender<u64>,
    proposer: OnceLock<Arc<dyn Propose>>,
    pub(super) lead: OnceLock<Arc<dyn Lead>>,
}

impl std::fmt::Debug for Lessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lessor")
            .field("options", &self.options)
            .field("is_primary", &self.is_primary())
            .finish_non_exhaustive()
    }
}

impl Lessor {
    /// A time-keeper that does not lead yet.
    pub fn new(table: Arc<dyn LeaseTable>, options: LessorOptions) -> Self {
        Self {
            table,
            options,
            primary: Mutex::new(None),
            wake: Notify::new(),
            endings: watch::Sender::new(0),
            proposer: OnceLock::new(),
            lead: OnceLock::new(),
        }
    }

    /// Completes a request before it is proposed: an id where the client leaves the choice to the store, and no less than
    /// the shortest time, so that all members grant the same.
    pub fn complete(&self, request: &mut LeaseGrantRequest) {
        while request.id == 0 {
            request.id = i64::from_be_bytes(rand::random()) & i64::MAX;
        }
        request.ttl = request.ttl.max(self.options.min_ttl);
    }

    /// Whether this member keeps the time.
    pub fn is_primary(&self) -> bool {
        self.primary.lock().is_some()
    }

    /// Whether there is nothing to do, ever.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.primary
            .lock()
            .as_ref()
            .and_then(Deadlines::next)
            .is_none()
    }

    /// This member leads now. Every lease gets its time anew.
    pub fn promote(&self) {
        // Held from before the leases are listed: one that is granted or ends meanwhile waits for the list to be in force.
        let mut primary = self.primary.lock();
        let now = Instant::now();
        let start = now + self.options.extend;
        let mut leases = self.table.all();
        leases.sort_by_key(|lease| (left_to(lease), lease.id));
        // Leases that all got their time at once would all end at once.
        let crowded = leases.len() > REVOKES_A_SECOND;
        let gap = Duration::from_secs(1) / u32::try_from(REVOKES_A_SECOND * 3 / 4).unwrap_or(1);
        let mut deadlines = Deadlines::default();
        let mut previous = start;
        for lease in leases {
            let mut end = after(start, left_to(&lease));
            if crowded {
                end = end.max(previous + gap);
                previous = end;
            }
            deadlines.set(lease.id, end);
            self.schedule_checkpoint(&mut deadlines, lease.id, end, now);
        }
        *primary = Some(deadlines);
        self.wake.notify_one();
    }

    /// This member leads no longer.
    pub fn demote(&self) {
        *self.primary.lock() = None;
        self.endings.send_modify(|count| *count += 1);
    }

    /// A lease was granted, on every member.
    pub(crate) fn granted(&self, lease: Lease) {
        let now = Instant::now();
        if let Some(deadlines) = &mut *self.primary.lock() {
            let end = after(now, lease.ttl_s);
            deadlines.set(lease.id, end);
            self.schedule_checkpoint(deadlines, lease.id, end, now);
            self.wake.notify_one();
        }
    }

    /// A lease is gone, on every member.
    pub(crate) fn revoked(&self, id: i64) {
        if let Some(deadlines) = &mut *self.primary.lock() {
            deadlines.remove(id);
        }
        self.endings.send_modify(|count| *count += 1);
    }

    /// What is left of a lease was noted down, on every member.
    pub(crate) fn checkpointed(&self, id: i64) {
        let now = Instant::now();
        if let Some(deadlines) = &mut *self.primary.lock()
            && let Some(end) = deadlines.end_of(id)
        {
            self.schedule_checkpoint(deadlines, id, end, now);
            self.wake.notify_one();
        }
    }

    /// Renews a lease to its full time, and returns that in seconds. One that has ended is waited for until it is gone.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`]; [`StoreError::NotPrimary`] when another member must be asked.
    pub async fn renew(&self, id: i64) -> Result<i64> {
        let mut endings = self.endings.subscribe();
        let lease = loop {
            endings.borrow_and_update();
            {
                let primary = self.primary.lock();
                let deadlines = primary.as_ref().ok_or(StoreError::NotPrimary)?;
                let lease = self.table.get(id).ok_or(StoreError::LeaseNotFound)?;
                let end = deadlines.end_of(id).ok_or(StoreError::LeaseNotFound)?;
                if end > Instant::now() {
                    break lease;
                }
            }
            if endings.changed().await.is_err() {
                return Err(StoreError::NotPrimary);
            }
        };
        if lease.remaining_ttl_s > 0 {
            self.clear_checkpoint(id).await?;
        }
        let mut primary = self.primary.lock();
        let deadlines = primary.as_mut().ok_or(StoreError::NotPrimary)?;
        deadlines.end_of(id).ok_or(StoreError::LeaseNotFound)?;
        deadlines.set(id, after(Instant::now(), lease.ttl_s));
        Ok(lease.ttl_s)
    }

    /// What is left of a lease, and its keys if asked for. The answer has no header.
    ///
    /// # Errors
    /// As [`Lessor::renew`].
    pub fn time_to_live(&self, request: LeaseTimeToLiveRequest) -> Result<LeaseTimeToLiveResponse> {
        let primary = self.primary.lock();
        let deadlines = primary.as_ref().ok_or(StoreError::NotPrimary)?;
        let id = request.id;
        let lease = self.table.get(id).ok_or(StoreError::LeaseNotFound)?;
        let end = deadlines.end_of(id).ok_or(StoreError::LeaseNotFound)?;
        let left = end.saturating_duration_since(Instant::now());
        let keys = if request.keys {
            self.table.keys(id)
        } else {
            Vec::new()
        };
        Ok(LeaseTimeToLiveResponse {
            header: None,
            id,
            ttl: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            granted_ttl: lease.ttl_s,
            keys,
        })
    }

    /// The ids of all leases; on the leader those that end first come first.
    pub fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<_> = self.table.all().iter().map(|lease| lease.id).collect();
        if let Some(deadlines) = &*self.primary.lock() {
            ids.sort_by_key(|id| (deadlines.end_of(*id), *id));
        }
        ids
    }

    /// Ends leases when their time is over, and notes down what is left of long ones, as long as it is polled.
    pub async fn run(&self, proposer: Arc<dyn Propose>) {
        let proposer = self.proposer.get_or_init(|| proposer);
        loop {
            let next = self.primary.lock().as_ref().and_then(Deadlines::next);
            match next {
                Some(next) => {
                    tokio::select! {
                        biased;
                        () = sleep_until(next) => {}
                        () = self.wake.notified() => {}
                    }
                }
                None => self.wake.notified().await,
            }
            let now = Instant::now();
            let (ended, checkpoints) = self.take_due(now);
            if ended.is_empty() && checkpoints.is_empty() {
                continue;
            }
            let full = ended.len() >= REVOKES_A_SECOND / 2;
            self.revoke(&**proposer, ended).await;
            if !checkpoints.is_empty() {
                let request = LeaseCheckpointRequest { checkpoints };
                if let Err(error) = proposer.propose(Command::LeaseCheckpoint(request)).await {
                    tracing::warn!(%error, "cannot note down the leases' time");
                }
            }
            if full {
                sleep_until(now + ROUND).await;
            }
        }
    }

    fn take_due(&self, now: Instant) -> (Vec<i64>, Vec<LeaseCheckpoint>) {
        let mut primary = self.primary.lock();
        let Some(deadlines) = primary.as_mut() else {
            return Default::default();
        };
        let ended = deadlines.take_ended(now, REVOKES_A_SECOND / 2, RETRY);
        let due = deadlines.take_checkpoints(now, CHECKPOINTS_AN_ENTRY);
        let checkpoints = due.into_iter().filter_map(|(id, left)| {
            let lease = self.table.get(id)?;
            let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            let remaining_ttl = i64::try_from(whole).ok()?;
            (remaining_ttl < lease.ttl_s).then_some(LeaseCheckpoint { id, remaining_ttl })
        });
        (ended, checkpoints.collect())
    }

    /// Ends leases whose time is over. Commands of a member that was leader until now go to the next one, which has given
    /// every lease its time anew: so nothing is ended by who is not sure to lead (etcd, `server/etcdserver/server.go`,
    /// `revokeExpiredLeases`), and nothing any more once this member was told that it does not.
    async fn revoke(&self, proposer: &dyn Propose, ended: Vec<i64>) {
        if let (false, Some(lead)) = (ended.is_empty(), self.lead.get())
            && !lead.is_certain().await
        {
            tracing::info!(
                leases = ended.len(),
                "leases have expired, but this member is not sure to lead"
            );
            return;
        }
        let mut under_way = FuturesUnordered::new();
        for id in ended {
            if under_way.len() >= REVOKES_AT_ONCE {
                under_way.next().await;
            }
            if !self.has_ended(id) {
                continue;
            }
            under_way.push(async move {
                let command = Command::LeaseRevoke(LeaseRevokeRequest { id });
                match proposer.propose(command).await {
                    Ok(_) | Err(StoreError::LeaseNotFound) => {}
                    Err(error) => {
                        tracing::warn!(lease = id, %error, "cannot revoke an expired lease");
                    }
                }
            });
        }
        while under_way.next().await.is_some() {}
    }

    /// Whether a lease's time is over, as far as this member keeps it.
    fn has_ended(&self, id: i64) -> bool {
        let primary = self.primary.lock();
        let end = primary.as_ref().and_then(|deadlines| deadlines.end_of(id));
        end.is_some_and(|end| end <= Instant::now())
    }

    fn schedule_checkpoint(&self, deadlines: &mut Deadlines, id: i64, end: Instant, now: Instant) {
        if let Some(interval) = self.options.checkpoint_interval
            && end > now + interval
        {
            deadlines.set_checkpoint(id, now + interval);
        }
    }

    /// The renewed lease must not be cut to an old checkpoint by the next leader.
    async fn clear_checkpoint(&self, id: i64) -> Result<()> {
        let Some(proposer) = self.proposer.get() else {
            return Ok(());
        };
        let checkpoints = vec![LeaseCheckpoint {
            id,
            remaining_ttl: 0,
        }];
        let request = LeaseCheckpointRequest { checkpoints };
        proposer
            .propose(Command::LeaseCheckpoint(request))
            .await
            .map(drop)
    }
}

/// What a new leader gives a lease, in seconds.
fn left_to(lease: &Lease) -> i64 {
    if lease.remaining_ttl_s > 0 {
        lease.remaining_ttl_s
    } else {
        lease.ttl_s
    }
}
