//! Invariant "durable means read back": sealed segments go up in order, each until the object store acknowledges it,
//! and only that moves the durable revision.

use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::segment::SealedSegment;
use revkeep_vault::{come_after_others, fail_point};
use tokio::task::{AbortHandle, JoinHandle};

use super::seal::{ZSTD_LEVEL, seal};
use super::{Facts, Held, QueueReceiver, Queued};
use crate::AgentError;
use crate::backoff::Backoff;
use crate::config::Dial;
use crate::head::HeadKeeper;
use crate::spool::Spool;
use crate::status::Kind;
use crate::target::Target;
use crate::turn::{Leave, Turns};

/// The longest wait between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// What goes up for so long is filed meanwhile.
const FILED_AFTER: Duration = Duration::from_secs(1);
/// Bytes for which an attempt gets a second more.
const BYTES_PER_SECOND: u64 = 256 << 10;

/// What ships: two tasks, one seals into the spool and the other uploads from it, so that neither compressing nor the disk
/// waits for the network.
#[derive(Debug)]
pub struct Shipper {
    /// Where segments go.
    pub target: Target,
    /// Where they wait.
    pub spool: Arc<Spool>,
    /// Leases and compact revisions.
    pub facts: Facts,
    /// Told of every durable revision.
    pub head: Arc<HeadKeeper>,
    /// How long an attempt to store a small segment may take.
    pub deadline: Dial<Duration>,
    /// Whether this agent uploads, or another one does.
    pub turns: Arc<Turns>,
}

/// Running tasks. They end when the queue's senders are gone and all is uploaded.
#[derive(Debug)]
pub struct Shipping {
    sealing: JoinHandle<Result<(), AgentError>>,
    uploading: JoinHandle<()>,
}

impl Shipping {
    /// The tasks by their names.
    #[must_use]
    pub fn tasks(&self) -> [(&'static str, AbortHandle); 2] {
        [
            ("sealing", self.sealing.abort_handle()),
            ("uploading", self.uploading.abort_handle()),
        ]
    }

    /// Waits until everything that was queued is durable.
    pub async fn finished(self) -> Result<(), AgentError> {
        let died = |task| move |error| AgentError::Internal(format!("the {task} task: {error}"));
        let sealed = self.sealing.await.map_err(died("sealing"))?;
        self.uploading.await.map_err(died("uploading"))?;
        sealed
    }
}

impl Shipper {
    /// Starts the tasks.
    #[must_use]
    pub fn start(self, queue: QueueReceiver) -> Shipping {
        let uploader = Uploader {
            target: self.target.clone(),
            spool: Arc::clone(&self.spool),
            head: self.head,
            deadline: self.deadline,
            turns: self.turns,
        };
        let uploading = tokio::spawn(uploader.run());
        let sealing = tokio::spawn(seal_all(self.target, self.facts, queue, self.spool));
        Shipping { sealing, uploading }
    }
}

async fn seal_all(
    target: Target,
    facts: Facts,
    queue: QueueReceiver,
    spool: Arc<Spool>,
) -> Result<(), AgentError> {
    let sealed = seal_into(&spool, &target, facts, queue).await;
    spool.close().await;
    sealed
}

async fn seal_into(
    spool: &Spool,
    target: &Target,
    mut facts: Facts,
    mut queue: QueueReceiver,
) -> Result<(), AgentError> {
    while let Some(queued) = queue.recv().await {
        let Held { batch, share } = match queued {
            Queued::Batch(held) => held,
            Queued::Healed(hole) => {
                spool.healed(hole);
                continue;
            }
        };
        if spool.discards() {
            continue;
        }
        facts.returned(spool.returned());
        fail_point::reached("segment.sealing");
        let gathered = Box::pin(facts.gather(&batch)).await;
        let writer = target.timeline.segment_writer(0, ZSTD_LEVEL);
        let sealing = tokio::task::spawn_blocking(move || {
            come_after_others();
            seal(writer, batch, gathered)
        });
        let segment = sealing
            .await
            .map_err(|error| AgentError::Internal(format!("sealing a segment: {error}")))??;
        drop(share);
        fail_point::reached("segment.sealed");
        spool.admit(segment).await;
    }
    Ok(())
}

struct Uploader {
    target: Target,
    spool: Arc<Spool>,
    head: Arc<HeadKeeper>,
    deadline: Dial<Duration>,
    turns: Arc<Turns>,
}

impl Uploader {
    async fn run(self) {
        let mut backoff = Backoff::new(RETRY_LIMIT);
        while let Some(next) = self.spool.next().await {
            let segment = &next.segment;
            let (first, last) = (segment.first, segment.last);
            if self.turns.wait(&self.head, first, last).await == Leave::Covered {
                tracing::debug!(%first, %last, "another agent has stored this");
                self.spool.acknowledged(&next).await;
                continue;
            }
            fail_point::reached("segment.uploading");
            if let Err(error) = self.attempt(segment).await {
                let wait = backoff.step().max(error.least_wait());
                tracing::warn!(%error, %first, %last, ?wait, "segment was not stored, trying again");
                self.head.monitor().not_stored(Kind::Segment, &error);
                // It is read again from its file: memory is for what is new.
                drop(next);
                tokio::join!(self.spool.file(), tokio::time::sleep(wait));
                continue;
            }
            fail_point::reached("segment.stored");
            backoff.reset();
            let (bytes, rows) = (segment.bytes.len(), segment.index.rows);
            tracing::debug!(%first, %last, bytes, rows, "segment is durable");
            self.head.segment(first, last);
            fail_point::reached("segment.counted");
            self.spool.acknowledged(&next).await;
            fail_point::reached("segment.forgotten");
        }
    }

    /// One attempt. While it takes long, what waits is filed.
    async fn attempt(&self, segment: &SealedSegment) -> Result<(), AgentError> {
        let deadline = deadline(self.deadline.get(), segment.bytes.len());
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

/// How long an attempt may take: a large segment takes longer.
fn deadline(least: Duration, bytes: usize) -> Duration {
    let seconds = bytes as u64 / BYTES_PER_SECOND;
    least.saturating_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_segment_gets_longer() {
        let least = Duration::from_secs(30);
        assert_eq!(deadline(least, 1000), least);
        assert_eq!(deadline(least, 8 << 20), Duration::from_secs(62));
    }
}
