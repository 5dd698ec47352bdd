//! What ships: batches are sealed into the spool, and go up from there.

use std::sync::Arc;
use std::time::Duration;

use revkeep_vault::{come_after_others, fail_point};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::seal::{ZSTD_LEVEL, seal};
use super::uploader::Uploader;
use super::{Facts, Held, QueueReceiver, Queued};
use crate::AgentError;
use crate::Proof;
use crate::config::Dial;
use crate::head::HeadKeeper;
use crate::spool::Spool;
use crate::target::Target;
use crate::turn::Turns;

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
    /// Whether the vault is what it was remembered to be.
    pub proof: Arc<Proof>,
    /// Another session goes on with the same spool: nothing more goes up.
    pub yields: CancellationToken,
}

/// Running tasks. They end when the queue's senders are gone and all is uploaded, and with this: both have the spool.
#[derive(Debug)]
pub struct Shipping {
    sealing: AbortOnDropHandle<Result<(), AgentError>>,
    uploading: AbortOnDropHandle<()>,
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
            proof: self.proof,
            yields: self.yields,
        };
        let uploading = tokio::spawn(uploader.run());
        let sealing = tokio::spawn(seal_all(self.target, self.facts, queue, self.spool));
        Shipping {
            sealing: AbortOnDropHandle::new(sealing),
            uploading: AbortOnDropHandle::new(uploading),
        }
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
