//! Batches that wait to be sealed, bounded by their bytes. The watch never waits here: a full queue, as when the disk of
//! the spool hangs, is told at once, and capture then lets go of the watch and comes back to the source's own history.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::capture::batch::Batch;

/// Permits are counted in KiB, because a semaphore counts in 32 bits.
const UNIT: usize = 1 << 10;

/// No room. The batch comes back.
#[derive(Debug)]
pub struct Full(pub Batch);

/// A batch and its share of the queue's memory, given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// The batch.
    pub batch: Batch,
    /// Its share.
    pub share: OwnedSemaphorePermit,
}

/// What comes out of the queue, in the order in which it went in.
#[derive(Debug)]
pub enum Queued {
    /// A batch.
    Batch(Held),
    /// A base was taken because of the hole with this number; the batches that follow continue that base.
    Healed(u64),
}

/// The end that capture has.
#[derive(Clone, Debug)]
pub struct QueueSender {
    room: Arc<Semaphore>,
    units: usize,
    held: mpsc::UnboundedSender<Queued>,
}

/// The end that ships.
pub type QueueReceiver = mpsc::UnboundedReceiver<Queued>;

/// A queue that holds up to `bytes` of rows, or one batch that is larger.
#[must_use]
pub fn bounded(bytes: usize) -> (QueueSender, QueueReceiver) {
    let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (held, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(units));
    (QueueSender { room, units, held }, receiver)
}

impl QueueSender {
    /// Takes a batch when there is room for it.
    ///
    /// # Errors
    /// [`Full`] with the batch when there is none.
    pub fn offer(&self, batch: Batch) -> Result<(), Full> {
        let share = self.share_of(&batch);
        match Arc::clone(&self.room).try_acquire_many_owned(share) {
            Ok(share) => {
                // Whoever runs capture watches `closed`; the rows stay in the source.
                let _ = self.held.send(Queued::Batch(Held { batch, share }));
                Ok(())
            }
            Err(_) => Err(Full(batch)),
        }
    }

    /// Waits until nobody takes batches any more: what is pushed from then on is dropped.
    pub async fn closed(&self) {
        self.held.closed().await;
    }

    /// Waits for room, and takes the batch.
    pub async fn push(&self, batch: Batch) {
        let share = self.share_of(&batch);
        if let Ok(share) = Arc::clone(&self.room).acquire_many_owned(share).await {
            let _ = self.held.send(Queued::Batch(Held { batch, share }));
        }
    }

    /// Tells that a base was taken because of a hole in what was kept.
    pub fn healed(&self, hole: u64) {
        let _ = self.held.send(Queued::Healed(hole));
    }

    fn share_of(&self, batch: &Batch) -> u32 {
        let units = (batch.plain_bytes / UNIT).clamp(1, self.units);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::Revision;

    use super::*;

    fn batch(plain_bytes: usize) -> Batch {
        Batch {
            first: Revision(2),
            last: Revision(2),
            plain_bytes,
            transactions: Vec::new(),
        }
    }

    #[tokio::test]
    async fn holds_no_more_than_its_bytes() {
        let (sender, mut receiver) = bounded(10 * UNIT);
        sender.offer(batch(6 * UNIT)).unwrap();
        sender.offer(batch(5 * UNIT)).unwrap_err();
        sender.offer(batch(4 * UNIT)).unwrap();
        drop(receiver.recv().await.unwrap());
        sender.offer(batch(6 * UNIT)).unwrap();
    }

    #[tokio::test]
    async fn takes_one_batch_that_is_larger_than_all_of_it() {
        let (sender, mut receiver) = bounded(10 * UNIT);
        sender.offer(batch(100 * UNIT)).unwrap();
        sender.offer(batch(1)).unwrap_err();
        drop(receiver.recv().await.unwrap());
        sender.push(batch(1)).await;
        assert!(receiver.recv().await.is_some());
    }
}
