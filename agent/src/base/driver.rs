//! One base at a time, beside capture: those that capture asks for, and those that the schedule asks for.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseManifest;
use revkeep_vault::{ErrorKind, fail_point};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Bridge, PATIENCE, Taken, take, write};
use crate::AgentError;
use crate::Proof;
use crate::Schedule;
use crate::backoff::Backoff;
use crate::config::Dial;
use crate::gap::Gaps;
use crate::head::HeadKeeper;
use crate::lease::Leases;
use crate::lineage::{Known, Lineage, connect_any, judge};
use crate::source::{Connection, Prefer};
use crate::spool::Spool;
use crate::target::Target;
use crate::turn::Turns;

/// The longest wait between two tries while the store takes segments.
const SOON: Duration = Duration::from_secs(5);

/// A base to be written.
#[derive(Debug)]
pub struct Job {
    /// A snapshot that capture has taken already. When writing it fails, another one is taken.
    pub taken: Option<Taken>,
    /// The first revision that no segment covers and no gap, where the base heals a hole: the base must reach back to it,
    /// or what lies between is lost as well.
    pub heals: Option<Revision>,
    /// Told of the base, or of why there is none; then it is not tried again.
    pub reply: Option<Reply>,
}

/// Where whoever asked for a base is told of it.
pub type Reply = oneshot::Sender<Result<Arc<BaseManifest>, AgentError>>;

impl Job {
    /// A base that somebody asked for, who is told of it.
    #[must_use]
    pub const fn asked(reply: Reply) -> Self {
        Self {
            taken: None,
            heals: None,
            reply: Some(reply),
        }
    }
}

/// The task's parts.
#[derive(Debug)]
pub struct Driver {
    /// How to reach the source, for snapshots that it takes itself.
    pub connection: Connection,
    /// Where bases go.
    pub target: Target,
    /// Where snapshots are spooled.
    pub spool: PathBuf,
    /// Segments that wait for the store.
    pub segments: Arc<Spool>,
    /// When bases are due.
    pub schedule: Dial<Option<Schedule>>,
    /// Told of every base.
    pub head: Arc<HeadKeeper>,
    /// Told of what a base does not heal.
    pub gaps: Gaps,
    /// Told of every base's leases.
    pub leases: Arc<Leases>,
    /// What the source is compared with.
    pub lineage: Arc<Lineage>,
    /// Which member sends snapshots.
    pub prefer: Prefer,
    /// Whether this agent takes bases on the schedule, or another one does.
    pub turns: Arc<Turns>,
    /// Whether the vault is what it was remembered to be.
    pub proof: Arc<Proof>,
    /// The newest base that is known, whose chunks need not go up again.
    pub previous: Option<Arc<BaseManifest>>,
}

impl Driver {
    /// Runs until capture has ended and what it asked for is done. After `stop` that is not tried twice, and a base that
    /// only the schedule asked for is given up: the next start takes its own in time.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken) {
        loop {
            let job = tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(job) => job,
                    None => return,
                },
                () = due(&self.schedule), if !stop.is_cancelled() => {
                    if !self.turns.uploads() {
                        tracing::debug!("a base is due, and another agent takes it");
                        continue;
                    }
                    Job {
                        taken: None,
                        heals: None,
                        reply: None,
                    }
                }
            };
            if job.reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
                continue;
            }
            self.complete(job, &stop).await;
        }
    }

    async fn complete(&mut self, mut job: Job, stop: &CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let scheduled = job.taken.is_none() && job.heals.is_none();
        loop {
            let reached = self.head.durable();
            let outcome = tokio::select! {
                () = stop.cancelled(), if scheduled => return,
                outcome = Box::pin(self.attempt(&mut job)) => outcome,
            };
            let Err(error) = outcome else { return };
            if matches!(error, AgentError::Reopen) {
                // The session that follows takes the bases that it needs.
                return;
            }
            self.head.monitor().no_base(&error);
            if let Some(reply) = job.reply.take() {
                tracing::error!(%error, "the base that was asked for was not written");
                // Whoever asked may have gone.
                let _ = reply.send(Err(error));
                return;
            }
            let wait = (backoff.step() * 5).max(error.least_wait());
            tracing::error!(%error, ?wait, "no base was written, trying again");
            let store = store_failed(&error);
            let store_is_back = async {
                tokio::time::sleep(wait.min(SOON)).await;
                self.head.beyond(reached).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = store_is_back, if store => {}
            }
        }
    }

    /// A snapshot of a member that continues what was captured.
    async fn snapshot(&mut self) -> Result<Taken, AgentError> {
        let connection = &self.connection;
        // Capture may see the source's log go on while the snapshot comes.
        let raft = self.lineage.known().raft;
        let member = connect_any(connection, &self.lineage.known()).await?;
        let preferred = self.prefer.member(connection, &member).await;
        let member = preferred.unwrap_or(member);
        let taken = take(&member, &self.spool).await?;
        self.head.monitor().snapshot(&taken);
        let timeline = Some(&self.target.timeline);
        let known = Known {
            raft,
            ..self.lineage.known()
        };
        let judged = judge(&taken, &known, timeline, (connection, &member)).await;
        if judged.is_err() {
            // Not the same one again.
            self.connection.endpoints.rotate_left(1);
        }
        if let Some(wrong) = judged?.wrong {
            // Capture may have gone on since, in the same segments: it takes the base that takes their place.
            self.lineage.doubt();
            return Err(AgentError::Unlike(wrong.to));
        }
        Ok(taken)
    }

    async fn attempt(&mut self, job: &mut Job) -> Result<(), AgentError> {
        let taken = if let Some(taken) = job.taken.take() {
            taken
        } else {
            Box::pin(self.snapshot()).await?
        };
        if !self.proof.holds().await {
            return Err(AgentError::Reopen);
        }
        // A snapshot that had to be taken again may reach less far back; see `gap`.
        if let Some(first) = job.heals {
            let compact = taken.position.compact_revision;
            self.gaps.lost(first, compact.previous()).await;
            job.heals = Some(first.max(compact));
        }
        let bridge = Bridge {
            timeline: &self.target.timeline,
            head: &self.head,
            gaps: &self.gaps,
            spool: Some(&self.segments),
            patience: PATIENCE,
        };
        if let Err(error) = bridge.settle(taken.position.compact_revision).await {
            job.taken = Some(taken);
            return Err(error);
        }
        fail_point::reached("base.settled");
        let written = write(&self.target, &taken, self.previous.as_deref()).await;
        let manifest = match written {
            Err(error) if store_failed(&error) => {
                // The snapshot is as good as before: the source is not asked for another one.
                job.taken = Some(taken);
                return Err(error);
            }
            written => written?,
        };
        let (revision, compact) = (manifest.facts.revision, manifest.facts.compact_revision);
        tracing::info!(
            %revision,
            compact_revision = %compact,
            rows = manifest.rows,
            plain_bytes = manifest.plain_bytes,
            stored_bytes = manifest.stored_bytes,
            chunks = manifest.chunks.len(),
            "base is durable"
        );
        fail_point::reached("base.stored");
        self.leases.learn(&manifest.facts.buckets);
        self.head.monitor().base((&manifest.facts).into());
        self.head.base(revision, compact);
        fail_point::reached("base.counted");
        let manifest = Arc::new(manifest);
        if let Some(reply) = job.reply.take() {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(Arc::clone(&manifest)));
        }
        self.previous = Some(manifest);
        Ok(())
    }
}

/// Whether the same may work later.
fn store_failed(error: &AgentError) -> bool {
    matches!(error, AgentError::Vault(error) if error.kind() == ErrorKind::Retry)
}

/// Waits for the next time on the schedule; for ever without one.
async fn due(schedule: &Dial<Option<Schedule>>) {
    let mut changes = schedule.changes();
    loop {
        let waiting = next(schedule.get());
        tokio::select! {
            () = waiting => return,
            // The dial is held by the caller, so this tells of changes alone.
            _ = changes.changed() => {}
        }
    }
}

async fn next(schedule: Option<Schedule>) {
    let now = Utc::now();
    let Some(next) = schedule.and_then(|schedule| schedule.next_after(now)) else {
        return pending().await;
    };
    tokio::time::sleep((next - now).to_std().unwrap_or_default()).await;
}
