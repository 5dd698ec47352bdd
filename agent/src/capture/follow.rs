//! The watch, kept alive: connects, watches from the revision after the last, joins, batches, and starts again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::segment::MAX_FRAME_PLAIN_BYTES;
use revkeep_vault::fail_point;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Batcher};
use super::following::Following;
use super::joiner::Transaction;
use crate::AgentError;
use crate::backoff::Backoff;
use crate::base::{Job, Taken};
use crate::config::Dial;
use crate::gap::Gaps;
use crate::head::HeadKeeper;
use crate::lease::Leases;
use crate::lineage::Lineage;
use crate::ship::{Full, QueueSender};
use crate::source::{Connection, Member, Message, Prefer};
use crate::spool::{Hole, Spool};
use crate::status::Phase;
use crate::target::Target;
use crate::turn::Turns;

/// The longest wait between two connects.
const RETRY_LIMIT: Duration = Duration::from_secs(15);
/// The largest revision, in bytes of encoded rows, that a segment holds: it is in one frame, beside less than 1 MiB of
/// those before it.
const LARGEST_REVISION: u64 = MAX_FRAME_PLAIN_BYTES - (2 << 20);

/// Why a watch was over without an error.
enum Ended {
    /// The agent is asked to stop.
    Stopped,
    /// The queue of what is to be sealed is full: the watch was let go.
    QueueFull,
    /// What was not kept can be healed by a base now.
    Healing,
}

/// The wires of the capture task.
#[derive(Debug)]
pub struct Wires {
    /// How to reach the source.
    pub connection: Connection,
    /// What it is captured into.
    pub target: Target,
    /// Where snapshots are spooled.
    pub spool: PathBuf,
    /// The way to the vault.
    pub queue: QueueSender,
    /// Where sealed segments wait.
    pub segments: Arc<Spool>,
    /// Tells of what was captured and not kept.
    pub holes: watch::Receiver<Option<Hole>>,
    /// The way to the base task.
    pub jobs: mpsc::Sender<Job>,
    /// Told of what is lost.
    pub gaps: Gaps,
    /// Told of the leases that rows name.
    pub leases: Arc<Leases>,
    /// Told where the source stands.
    pub head: Arc<HeadKeeper>,
    /// What the source is compared with.
    pub lineage: Arc<Lineage>,
    /// Which member sends snapshots.
    pub prefer: Prefer,
    /// Whether this agent uploads, or another one does.
    pub turns: Arc<Turns>,
    /// Where others find the member that is watched.
    pub member: watch::Sender<Option<Member>>,
    /// Further behind than so many revisions a snapshot is cheaper for the source than a watch: it reads its whole backlog
    /// again and again while a watcher catches up.
    pub catch_up_limit: Dial<i64>,
}

/// The capture task.
#[derive(Debug)]
pub struct Capture {
    pub(super) wires: Wires,
    /// Gathers what is not sealed yet.
    pub(super) batcher: Batcher,
    /// The last revision that was captured; `None` before the first base.
    pub(super) last: Option<Revision>,
    pub(super) state: State,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The endpoint to try next.
    endpoint: usize,
    /// The source lost what comes next: only a base helps.
    pub(super) needs_base: bool,
    /// Up to where what follows the last revision was told to be lost already.
    pub(super) lost: Option<Revision>,
    /// The last good revision when the watch faltered for the first time.
    pub(super) faltered_at: Option<Revision>,
    /// A batch that found no room.
    stuck: Option<Batch>,
    /// The number of the last hole for which a base was taken.
    pub(super) healed: u64,
    /// A snapshot that was taken before capture began.
    pub(super) ready: Option<Taken>,
}

impl Capture {
    /// A capture that continues after `last`, or after the snapshot `ready`.
    #[must_use]
    pub fn new(
        wires: Wires,
        batcher: Batcher,
        last: Option<Revision>,
        ready: Option<Taken>,
    ) -> Self {
        let state = State {
            // What could not be read back was decided by a snapshot, and capture goes on after it.
            needs_base: ready.is_some(),
            ready,
            ..State::default()
        };
        Self {
            wires,
            batcher,
            last,
            state,
        }
    }

    /// Begins with a base: what follows the last revision was captured wrongly before, which is recorded, and no segment brings
    /// it back.
    #[must_use]
    pub fn with_a_base_first(mut self) -> Self {
        self.state.needs_base = true;
        self
    }

    /// Captures until it is stopped. What it holds then waits for [`Capture::finish`].
    ///
    /// # Errors
    /// [`AgentError::Lineage`] when the source is another one: going on would mix two histories. [`AgentError::Reopen`] when
    /// the vault holds other things than were known of it.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<(), AgentError> {
        let mut backoff = Backoff::new(RETRY_LIMIT);
        loop {
            let before = self.last;
            let turns = Arc::clone(&self.wires.turns);
            let lineage = Arc::clone(&self.wires.lineage);
            let ended = tokio::select! {
                ended = Box::pin(self.follow(stop)) => ended,
                () = turns.lacking() => Err(AgentError::Reopen),
                () = lineage.doubted() => {
                    self.state.needs_base = true;
                    Err(AgentError::Unlike(self.last.unwrap_or_default()))
                }
            };
            if !matches!(ended, Ok(Ended::Stopped)) {
                // After a stop the last batch's facts are still asked of this member.
                self.wires.member.send_replace(None);
            }
            if self.last != before {
                backoff.reset();
            }
            match ended {
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::Healing) => {}
                Ok(Ended::QueueFull) => {
                    self.wires.head.monitor().enter(Phase::Paused, None);
                    tracing::error!(
                        "changes are sealed more slowly than they come, and the queue is full: capture pauses, and relies on the \
                         source's history; see whether the disk of --state-dir answers"
                    );
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = self.wait_for_room() => tracing::info!("capture goes on"),
                    }
                }
                Err(error @ (AgentError::Lineage(_) | AgentError::Reopen)) => return Err(error),
                Err(error) => {
                    let wait = backoff.step().max(error.least_wait());
                    self.wires.head.monitor().diverged(match &error {
                        AgentError::Diverged(reason) => Some(reason.clone()),
                        _ => None,
                    });
                    self.wires
                        .head
                        .monitor()
                        .enter(Phase::Disconnected, Some(&error));
                    tracing::warn!(%error, ?wait, "the watch is lost, connecting again");
                    // Who knows when the source is back: what was captured is sealed now. What another content contradicts
                    // is left to what is found out about it.
                    let doubted = matches!(error, AgentError::Diverged(_) | AgentError::Unlike(_));
                    let waiting = async {
                        if !doubted {
                            self.hand_over().await;
                        }
                        tokio::time::sleep(wait).await;
                    };
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = waiting => {}
                    }
                }
            }
        }
    }

    /// Hands over what it holds. Waits for room in the queue, so for as long as the disk of the spool hangs.
    pub async fn finish(mut self) {
        self.hand_over().await;
    }

    async fn follow(&mut self, stop: &CancellationToken) -> Result<Ended, AgentError> {
        let mut following = tokio::select! {
            () = stop.cancelled() => return Ok(Ended::Stopped),
            following = self.prepare() => following?,
        };
        self.wires
            .member
            .send_replace(Some(following.member.clone()));
        let monitor = self.wires.head.monitor();
        monitor.diverged(None);
        monitor.enter(Phase::Watching, None);
        let mut wanted = self.wires.head.wanted();
        let mut holes = self.wires.holes.clone();
        let healed = self.state.healed;
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return Ok(Ended::Stopped),
                () = can_heal(&mut holes, healed) => return Ok(Ended::Healing),
                () = due(&self.batcher, &mut wanted) => {
                    let batch = self.batcher.seal();
                    if self.offer(batch).is_err() {
                        return Ok(Ended::QueueFull);
                    }
                    continue;
                }
                message = following.watch.next() => match message {
                    Ok(message) => message,
                    Err(error) => return Err(self.judge(error).await),
                },
            };
            let taken = tokio::select! {
                () = stop.cancelled() => return Ok(Ended::Stopped),
                taken = self.examine(&mut following, message) => taken?,
            };
            if !taken {
                return Ok(Ended::QueueFull);
            }
        }
    }

    /// Takes in one message after a look at it; false when the queue is full.
    async fn examine(
        &mut self,
        following: &mut Following,
        message: Message,
    ) -> Result<bool, AgentError> {
        if let Message::Events { changes, at, .. } = &message
            && let Err(error) = following.is_whole(changes, *at).await
        {
            return Err(self.judge(error).await);
        }
        match self.take_in(following, message) {
            Ok(taken) => Ok(taken),
            Err(error) => Err(self.judge(error).await),
        }
    }

    /// Takes in one message; false when the queue is full.
    fn take_in(&mut self, following: &mut Following, message: Message) -> Result<bool, AgentError> {
        let joiner = &mut following.joiner;
        match message {
            Message::Created => Ok(true),
            Message::Progress(revision) => {
                joiner.progress(revision)?;
                Ok(true)
            }
            Message::Compacted { compact } => Err(AgentError::Compacted {
                wanted: joiner.last().next(),
                compact_revision: compact,
            }),
            Message::Events {
                changes, fragment, ..
            } => {
                for change in changes {
                    if let Some(done) = joiner.push(change)?
                        && let Some(done) = following.expected.pass(done)?
                        && !self.add(done)?
                    {
                        return Ok(false);
                    }
                }
                let done = joiner.end_of_response(fragment);
                let done = done.map(|done| following.expected.pass(done)).transpose()?;
                match done.flatten() {
                    Some(done) => self.add(done),
                    None => Ok(true),
                }
            }
        }
    }

    /// Adds the next transaction; false when the queue is full.
    fn add(&mut self, transaction: Transaction) -> Result<bool, AgentError> {
        fits_a_segment(&transaction)?;
        self.last = Some(transaction.revision);
        self.wires.leases.saw(&transaction);
        self.wires.lineage.captured(&transaction);
        self.wires.head.source_at(transaction.revision);
        let seen = Utc::now().timestamp_millis();
        let sealed = self.batcher.push(transaction, seen, Instant::now());
        fail_point::reached("capture.added");
        Ok(self.offer(sealed).is_ok())
    }

    fn offer(&mut self, batch: Option<Batch>) -> Result<(), ()> {
        let Some(batch) = batch else { return Ok(()) };
        fail_point::reached("capture.offering");
        self.wires.queue.offer(batch).map_err(|Full(batch)| {
            self.state.stuck = Some(batch);
        })
    }

    /// Decides what an error means for the next watch.
    pub(super) async fn judge(&mut self, error: AgentError) -> AgentError {
        match &error {
            AgentError::Compacted {
                compact_revision, ..
            } => {
                self.state.needs_base = true;
                if self.hole().is_none() {
                    self.lost_below(*compact_revision).await;
                }
            }
            AgentError::TooLarge { .. } | AgentError::Oversized { .. } | AgentError::Unlike(_) => {
                self.state.needs_base = true;
            }
            AgentError::Fault(_) => {
                // Once may be a fault of one stream; twice at the same place, and the source has no more to give, or gives
                // what looks like a fault: one revision can delete a key, put it and delete it again.
                self.state.needs_base = self.state.faltered_at == self.last;
                self.state.faltered_at = self.last;
            }
            _ => {}
        }
        error
    }

    /// What was not kept, unless a base was taken for it: what is lost by it is known only with that base.
    pub(super) fn hole(&self) -> Option<Hole> {
        let hole = *self.wires.holes.borrow();
        hole.filter(|hole| hole.number > self.state.healed)
    }

    async fn wait_for_room(&mut self) {
        if let Some(batch) = self.state.stuck.clone() {
            self.wires.queue.push(batch).await;
            self.state.stuck = None;
        }
    }

    pub(super) async fn hand_over(&mut self) {
        self.wait_for_room().await;
        // Kept until it is taken: this may be left half way.
        self.state.stuck = self.batcher.seal();
        self.wait_for_room().await;
    }

    pub(super) fn next_endpoint(&mut self) -> Result<String, AgentError> {
        let endpoints = &self.wires.connection.endpoints;
        let count = endpoints.len().max(1);
        let endpoint = endpoints.get(self.state.endpoint % count).cloned();
        self.state.endpoint = (self.state.endpoint + 1) % count;
        endpoint.ok_or_else(|| AgentError::Config("--endpoints: name at least one".to_owned()))
    }
}

/// Waits until a base can heal a hole after the last one that was healed.
async fn can_heal(holes: &mut watch::Receiver<Option<Hole>>, healed: u64) {
    let open = |hole: &Option<Hole>| hole.is_some_and(|hole| hole.open && hole.number > healed);
    if holes.wait_for(open).await.is_err() {
        // The spool has ended, and capture is about to.
        std::future::pending::<()>().await;
    }
}

/// Waits until the open batch is due, or somebody waits for what is in it; for ever when there is none.
async fn due(batcher: &Batcher, wanted: &mut watch::Receiver<Revision>) {
    tokio::select! {
        () = old_enough(batcher) => {}
        Ok(_) = wanted.wait_for(|revision| batcher.holds(*revision)) => {}
    }
}

async fn old_enough(batcher: &Batcher) {
    match batcher.due() {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn fits_a_segment(transaction: &Transaction) -> Result<(), AgentError> {
    let bytes = transaction.plain_bytes();
    if bytes as u64 <= LARGEST_REVISION {
        return Ok(());
    }
    Err(AgentError::TooLarge {
        revision: transaction.revision,
        bytes,
    })
}

#[cfg(test)]
mod tests;
