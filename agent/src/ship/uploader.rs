//! Invariant "durable means read back": sealed segments go up, several at once, each until the object store acknowledges it,
//! and only that moves the durable revision: over what is stored without a hole ([`Front`](crate::head::Front)), in
//! whatever order it arrives.
//!
//! The oldest goes up first. After a failure only one is tried, and the oldest again before any that follows it, so a store
//! that is away sees no more requests of an agent with much to store than of any other.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use revkeep_schemas::segment::SealedSegment;
use revkeep_vault::fail_point;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use crate::AgentError;
use crate::Proof;
use crate::config::Dial;
use crate::head::HeadKeeper;
use crate::spool::{Next, Spool, Ticket};
use crate::status::Kind;
use crate::target::Target;
use crate::turn::{Leave, Turns};

/// What goes up for so long is filed meanwhile.
const FILED_AFTER: Duration = Duration::from_secs(1);
/// Bytes for which an attempt gets a second more.
const BYTES_PER_SECOND: u64 = 256 << 10;

/// Uploads from the spool.
pub(super) struct Uploader {
    pub(super) target: Target,
    pub(super) spool: Arc<Spool>,
    pub(super) head: Arc<HeadKeeper>,
    pub(super) deadline: Dial<Duration>,
    pub(super) turns: Arc<Turns>,
    pub(super) proof: Arc<Proof>,
    pub(super) yields: CancellationToken,
}

/// What became of a segment that was on its way.
struct Landed {
    ticket: Ticket,
    bytes: usize,
    stored: Result<(), AgentError>,
}

impl Uploader {
    /// Runs until the spool is closed and all of it is stored, or it yields to another session.
    pub(super) async fn run(self) {
        if !self.may_begin().await {
            return;
        }
        let mut pace = Pace::new();
        let mut flights = FuturesUnordered::new();
        loop {
            let mut fetching = std::pin::pin!(self.fetch());
            let fetched = loop {
                tokio::select! {
                    biased;
                    () = self.yields.cancelled(), if flights.is_empty() => return,
                    Some(landed) = flights.next() => {
                        if !self.landed(landed, &mut pace) {
                            // It is older than what is fetched.
                            break None;
                        }
                    }
                    fetched = &mut fetching, if pace.may_start() && !self.yields.is_cancelled() => {
                        break Some(fetched);
                    }
                    () = until(pace.rests()), if pace.rests().is_some() => pace.rested(),
                }
            };
            match fetched {
                None => {}
                Some(None) => return,
                Some(Some((next, Leave::Covered))) => {
                    let (first, last) = (next.segment.first, next.segment.last);
                    tracing::debug!(%first, %last, "another agent has stored this");
                    self.spool.acknowledged(&next).await;
                }
                Some(Some((next, Leave::Upload))) => {
                    self.spool.sent(next.ticket);
                    let share = pace.started(next.segment.bytes.len());
                    flights.push(self.fly(next, share));
                }
            }
        }
    }

    /// Waits until it is known that what was remembered of the vault is all that it holds; what comes meanwhile is filed.
    async fn may_begin(&self) -> bool {
        if !self.proof.is_known() {
            self.spool.file().await;
        }
        tokio::select! {
            proven = self.proof.holds() => proven,
            () = self.yields.cancelled() => false,
        }
    }

    /// The oldest segment that is not on its way, and what is to become of it; `None` when there will be none. May be
    /// dropped at any time.
    async fn fetch(&self) -> Option<(Next, Leave)> {
        let next = self.spool.next().await?;
        let (first, last) = (next.segment.first, next.segment.last);
        let leave = self.turns.wait(&self.head, first, last).await;
        Some((next, leave))
    }

    async fn fly(&self, next: Next, share: usize) -> Landed {
        let segment = &next.segment;
        let (first, last, bytes) = (segment.first, segment.last, segment.bytes.len());
        let ticket = next.ticket;
        fail_point::reached("segment.uploading");
        let stored = tokio::select! {
            biased;
            // Another session goes on from the file. What the store does with it all the same changes nothing.
            () = self.yields.cancelled() => Err(AgentError::Reopen),
            stored = self.attempt(segment, share) => stored,
        };
        if stored.is_ok() {
            fail_point::reached("segment.stored");
            let rows = segment.index.rows;
            tracing::debug!(%first, %last, bytes, rows, "segment is durable");
            self.head.segment(first, last);
            fail_point::reached("segment.counted");
            self.spool.acknowledged(&next).await;
            fail_point::reached("segment.forgotten");
        } else {
            // It is read again from its file: memory is for what is new.
            drop(next);
            self.spool.file().await;
        }
        if let Err(error) = &stored
            && !self.yields.is_cancelled()
        {
            tracing::warn!(%error, %first, %last, "segment was not stored, trying again");
            self.head.monitor().not_stored(Kind::Segment, error);
        }
        Landed {
            ticket,
            bytes,
            stored,
        }
    }

    /// Whether it was stored.
    fn landed(&self, landed: Landed, pace: &mut Pace) -> bool {
        let Err(error) = landed.stored else {
            pace.stored(landed.bytes);
            return true;
        };
        let wait = pace.failed(landed.bytes, error.least_wait(), Instant::now());
        tracing::debug!(?wait, "uploads wait");
        self.spool.came_back(landed.ticket);
        false
    }

    /// One attempt, during which so many bytes may share the line. While it takes long, what waits is filed.
    async fn attempt(&self, segment: &SealedSegment, share: usize) -> Result<(), AgentError> {
        let deadline = deadline(self.deadline.get(), share);
        let put = self.target.timeline.put_segment_within(segment, deadline);
        let mut put = std::pin::pin!(put);
        let stored = match tokio::time::timeout(FILED_AFTER, &mut put).await {
            Ok(stored) => stored,
            Err(_) => tokio::join!(self.spool.file(), put).1,
        };
        if stored?.existed {
            let (first, last) = (segment.first, segment.last);
            tracing::debug!(%first, %last, "an earlier attempt had stored the segment");
        }
        Ok(())
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// How long an attempt may take: a large segment takes longer, and so does one that shares the line with others.
fn deadline(least: Duration, share: usize) -> Duration {
    let seconds = share as u64 / BYTES_PER_SECOND;
    least.saturating_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
