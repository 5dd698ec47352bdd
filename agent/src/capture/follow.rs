//! The watch, kept alive: connects, watches from the revision after the last, joins, batches, and starts again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Batcher};
use super::joiner::{Fault, Joiner, Transaction};
use crate::AgentError;
use crate::backoff::Backoff;
use crate::base::{Job, Position, take};
use crate::gap::Gaps;
use crate::head::HeadKeeper;
use crate::lease::Leases;
use crate::lineage::{not_behind, same_cluster};
use crate::ship::{Full, QueueSender};
use crate::source::{Connection, Member, Message};
use crate::target::Target;

/// The longest wait between two connects.
const RETRY_LIMIT: Duration = Duration::from_secs(15);

/// Why a watch was over without an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The agent is asked to stop.
    Stopped,
    /// The queue to the vault is full: the watch was let go.
    QueueFull,
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
    /// The way to the base task.
    pub jobs: mpsc::Sender<Job>,
    /// Told of what is lost.
    pub gaps: Gaps,
    /// Told of the leases that rows name.
    pub leases: Arc<Leases>,
    /// Told where the source stands.
    pub head: Arc<HeadKeeper>,
    /// Where others find the member that is watched.
    pub member: watch::Sender<Option<Member>>,
    /// Further behind than so many revisions a snapshot is cheaper for the source than a watch: it reads its whole backlog
    /// again and again while a watcher catches up.
    pub catch_up_limit: i64,
}

/// The capture task.
#[derive(Debug)]
pub struct Capture {
    wires: Wires,
    /// Gathers what is not sealed yet.
    batcher: Batcher,
    /// The last revision that was captured; `None` before the first base.
    last: Option<Revision>,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// The endpoint to try next.
    endpoint: usize,
    /// The source lost what comes next: only a base helps.
    needs_base: bool,
    /// Up to where what follows the last revision was told to be lost already.
    lost: Option<Revision>,
    /// The last good revision when events were missing for the first time.
    jumped_at: Option<Revision>,
    /// A batch that found no room.
    stuck: Option<Batch>,
}

impl Capture {
    /// A capture that continues after `last`.
    #[must_use]
    pub fn new(wires: Wires, batcher: Batcher, last: Option<Revision>) -> Self {
        Self {
            wires,
            batcher,
            last,
            state: State::default(),
        }
    }

    /// Captures until it is stopped; then hands over what it holds.
    ///
    /// # Errors
    /// [`AgentError::Lineage`] when the source is another one: going on would mix two histories.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), AgentError> {
        let mut backoff = Backoff::new(RETRY_LIMIT);
        loop {
            let before = self.last;
            let ended = Box::pin(self.follow(&stop)).await;
            if !matches!(ended, Ok(Ended::Stopped)) {
                // After a stop the last batch's facts are still asked of this member.
                self.wires.member.send_replace(None);
            }
            if self.last != before {
                backoff.reset();
            }
            match ended {
                Ok(Ended::Stopped) => break,
                Ok(Ended::QueueFull) => {
                    tracing::error!(
                        "the vault is too slow or away, and the queue is full: capture pauses, and relies on the source's history"
                    );
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.wait_for_room() => tracing::info!("capture goes on"),
                    }
                }
                Err(error @ AgentError::Lineage(_)) => {
                    self.hand_over().await;
                    return Err(error);
                }
                Err(error) => {
                    let wait = backoff.step();
                    tracing::warn!(%error, ?wait, "the watch is lost, connecting again");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
        self.hand_over().await;
        Ok(())
    }

    async fn follow(&mut self, stop: &CancellationToken) -> Result<Ended, AgentError> {
        let prepared = tokio::select! {
            () = stop.cancelled() => return Ok(Ended::Stopped),
            prepared = self.prepare() => prepared?,
        };
        let (member, last) = prepared;
        let mut watch = member.watch_all(last.next()).await?;
        self.wires.member.send_replace(Some(member));
        let mut joiner = Joiner::new(last);
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return Ok(Ended::Stopped),
                () = due(&self.batcher) => {
                    let batch = self.batcher.seal();
                    if self.offer(batch).is_err() {
                        return Ok(Ended::QueueFull);
                    }
                    continue;
                }
                message = watch.next() => message?,
            };
            match self.take_in(&mut joiner, message) {
                Ok(true) => {}
                Ok(false) => return Ok(Ended::QueueFull),
                Err(error) => return Err(self.judge(error).await),
            }
        }
    }

    /// Connects, and takes a base first where that is needed. Gives the revision to watch after.
    async fn prepare(&mut self) -> Result<(Member, Revision), AgentError> {
        let endpoint = self.next_endpoint()?;
        let (member, identity) = Member::connect(&self.wires.connection, &endpoint).await?;
        same_cluster(&self.wires.target, &identity)?;
        let current = member.current_revision().await?;
        self.wires.head.source_at(current);
        if let Some(last) = self.last {
            not_behind(&self.wires.target, last, current)?;
            if current.0.saturating_sub(last.0) > self.wires.catch_up_limit {
                tracing::info!(%last, %current, "far behind: a base is taken instead of a long watch");
                self.state.needs_base = true;
            }
        }
        let last = match self.last {
            Some(last) if !self.state.needs_base => last,
            _ => self.rebase(&member).await?,
        };
        tracing::info!(endpoint, version = identity.version, after = %last, "watching");
        Ok((member, last))
    }

    /// Takes a snapshot; the base is written beside capture, which goes on after the snapshot's revision.
    async fn rebase(&mut self, member: &Member) -> Result<Revision, AgentError> {
        // First what may wait for the vault, so that the source does not compact between the snapshot and the next watch.
        self.hand_over().await;
        let taken = take(member, &self.wires.spool).await?;
        let Position {
            revision,
            compact_revision,
            ..
        } = taken.position;
        if let Some(last) = self.last
            && revision < last
        {
            return Err(AgentError::Snapshot {
                endpoint: member.endpoint().to_owned(),
                reason: format!(
                    "it stands at {revision}, and {last} was captured: the member lags behind"
                ),
            });
        }
        self.lost_below(compact_revision).await;
        let job = Job {
            taken: Some(taken),
            heals: self.last.map(|last| last.next().max(compact_revision)),
        };
        if self.wires.jobs.send(job).await.is_err() {
            return Err(AgentError::Internal("the base task has ended".to_owned()));
        }
        self.last = Some(revision);
        self.state.lost = None;
        self.state.needs_base = false;
        self.state.jumped_at = None;
        Ok(revision)
    }

    /// The source is compacted at `compact`: tells what is lost by that and was not told yet; see [`crate::gap`].
    async fn lost_below(&mut self, compact: Revision) {
        let Some(last) = self.last else { return };
        let first = self.state.lost.unwrap_or(last).max(last).next();
        if first < compact {
            self.wires.gaps.lost(first, compact.previous()).await;
            self.state.lost = Some(compact.previous());
        }
    }

    /// Takes in one message; false when the queue is full.
    fn take_in(&mut self, joiner: &mut Joiner, message: Message) -> Result<bool, AgentError> {
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
            Message::Events { changes, fragment } => {
                for change in changes {
                    if let Some(done) = joiner.push(change)?
                        && self.add(done).is_err()
                    {
                        return Ok(false);
                    }
                }
                let done = joiner.end_of_response(fragment);
                Ok(done.is_none_or(|done| self.add(done).is_ok()))
            }
        }
    }

    fn add(&mut self, transaction: Transaction) -> Result<(), ()> {
        self.last = Some(transaction.revision);
        self.wires.leases.saw(&transaction);
        self.wires.head.source_at(transaction.revision);
        let sealed = self
            .batcher
            .push(transaction, Utc::now().timestamp_millis());
        self.offer(sealed)
    }

    fn offer(&mut self, batch: Option<Batch>) -> Result<(), ()> {
        let Some(batch) = batch else { return Ok(()) };
        self.wires.queue.offer(batch).map_err(|Full(batch)| {
            self.state.stuck = Some(batch);
        })
    }

    /// Decides what an error means for the next watch.
    async fn judge(&mut self, error: AgentError) -> AgentError {
        match &error {
            AgentError::Compacted {
                compact_revision, ..
            } => {
                self.state.needs_base = true;
                self.lost_below(*compact_revision).await;
            }
            AgentError::Fault(Fault::Jump { .. }) => {
                // Once may be a fault of one stream; twice at the same place, and the source has no more to give.
                self.state.needs_base = self.state.jumped_at == self.last;
                self.state.jumped_at = self.last;
            }
            _ => {}
        }
        error
    }

    async fn wait_for_room(&mut self) {
        if let Some(batch) = self.state.stuck.clone() {
            self.wires.queue.push(batch).await;
            self.state.stuck = None;
        }
    }

    async fn hand_over(&mut self) {
        self.wait_for_room().await;
        // Kept until it is taken: this may be left half way.
        self.state.stuck = self.batcher.seal();
        self.wait_for_room().await;
    }

    fn next_endpoint(&mut self) -> Result<String, AgentError> {
        let endpoints = &self.wires.connection.endpoints;
        let count = endpoints.len().max(1);
        let endpoint = endpoints.get(self.state.endpoint % count).cloned();
        self.state.endpoint = (self.state.endpoint + 1) % count;
        endpoint.ok_or_else(|| AgentError::Config("--endpoints: name at least one".to_owned()))
    }
}

/// Waits until the open batch is due; for ever when there is none.
async fn due(batcher: &Batcher) {
    let Some(due_ms) = batcher.due_ms() else {
        return std::future::pending().await;
    };
    let wait = due_ms.saturating_sub(Utc::now().timestamp_millis());
    tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
}
