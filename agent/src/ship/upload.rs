//! Invariant "durable means read back": sealed segments go up in order, each until the object store acknowledges it,
//! and only that moves the durable revision.

use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::segment::SealedSegment;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

use super::seal::{ZSTD_LEVEL, seal};
use super::{Facts, Held, QueueReceiver};
use crate::AgentError;
use crate::backoff::Backoff;
use crate::head::HeadKeeper;
use crate::status::Kind;
use crate::target::Target;

/// The longest wait between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// How many sealed segments wait for the upload of the one before.
const SEALED_AHEAD: usize = 2;

/// What ships: two tasks, one seals and the other uploads, so that compressing does not wait for the network.
#[derive(Debug)]
pub struct Shipper {
    /// Where segments go.
    pub target: Target,
    /// Leases and compact revisions.
    pub facts: Facts,
    /// Told of every durable revision.
    pub head: Arc<HeadKeeper>,
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

type Sealed = (SealedSegment, OwnedSemaphorePermit);

impl Shipper {
    /// Starts the tasks.
    #[must_use]
    pub fn start(self, queue: QueueReceiver) -> Shipping {
        let (sealed, incoming) = mpsc::channel(SEALED_AHEAD);
        let uploading = tokio::spawn(upload_all(self.target.clone(), self.head, incoming));
        let sealing = tokio::spawn(seal_all(self.target, self.facts, queue, sealed));
        Shipping { sealing, uploading }
    }
}

async fn seal_all(
    target: Target,
    mut facts: Facts,
    mut queue: QueueReceiver,
    sealed: mpsc::Sender<Sealed>,
) -> Result<(), AgentError> {
    while let Some(Held { batch, share }) = queue.recv().await {
        let facts = Box::pin(facts.gather(&batch)).await;
        let writer = target.timeline.segment_writer(0, ZSTD_LEVEL);
        let sealing = tokio::task::spawn_blocking(move || seal(writer, &batch, facts));
        let segment = sealing
            .await
            .map_err(|error| AgentError::Internal(format!("sealing a segment: {error}")))??;
        if sealed.send((segment, share)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn upload_all(target: Target, head: Arc<HeadKeeper>, mut incoming: mpsc::Receiver<Sealed>) {
    let mut backoff = Backoff::new(RETRY_LIMIT);
    while let Some((segment, share)) = incoming.recv().await {
        upload(&target, &segment, &head, &mut backoff).await;
        drop(share);
        head.segment(segment.first, segment.last);
    }
}

async fn upload(
    target: &Target,
    segment: &SealedSegment,
    head: &HeadKeeper,
    backoff: &mut Backoff,
) {
    let (first, last) = (segment.first, segment.last);
    loop {
        match target.timeline.put_segment(segment).await {
            Ok(_) => {
                backoff.reset();
                let (bytes, rows) = (segment.bytes.len(), segment.index.rows);
                tracing::debug!(%first, %last, bytes, rows, "segment is durable");
                return;
            }
            Err(error) => {
                let wait = backoff.step();
                tracing::warn!(%error, %first, %last, ?wait, "segment was not stored, trying again");
                head.monitor().not_stored(Kind::Segment, &error);
                tokio::time::sleep(wait).await;
            }
        }
    }
}
