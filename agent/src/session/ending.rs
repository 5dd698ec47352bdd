//! How a session ends: what was captured goes up, and those who write into the vault end after it.

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::AgentError;
use crate::ship::Shipping;

/// The tasks that write into the vault. Some have the spool, and with it the folder, for which whoever captures the same
/// timeline again waits: none of them is left when this ends, whatever it ends with, or is dropped.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) shipping: Shipping,
    pub(super) basing: AbortOnDropHandle<()>,
    pub(super) recording: AbortOnDropHandle<()>,
    /// Where what is known of the vault was remembered: the others wait for it.
    pub(super) proving: Option<AbortOnDropHandle<()>>,
    /// Another session goes on with the same spool.
    pub(super) yields: CancellationToken,
}

impl Ending {
    /// Waits until everything that capture handed over is stored. Capture has ended.
    ///
    /// # Errors
    /// [`AgentError::Internal`] when a task has died, and what sealing failed with.
    pub(super) async fn wait(self) -> Result<(), AgentError> {
        let Self {
            shipping,
            basing,
            recording,
            proving,
            yields,
        } = self;
        shipping.finished().await?;
        let others = async move {
            basing.await.map_err(died("base"))?;
            recording.await.map_err(died("gap"))
        };
        let ended = tokio::select! {
            ended = others => ended,
            // As after a kill: who goes on finds out for itself what is lost, and takes the bases that it needs.
            () = yields.cancelled() => Ok(()),
        };
        drop(proving);
        ended
    }
}

/// What became of a task that should have ended by itself; made for `map_err`.
pub(super) fn died(task: &'static str) -> impl FnOnce(JoinError) -> AgentError {
    move |error| AgentError::Internal(format!("the {task} task: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use revkeep_schemas::Revision;
    use tempfile::TempDir;
    use tokio::sync::watch;

    use super::*;
    use crate::Proof;
    use crate::capture::batch::Batch;
    use crate::head::HeadKeeper;
    use crate::ship::{Facts, Shipper, bounded};
    use crate::spool::{Place, Spool};
    use crate::target::Target;
    use crate::turn::{Turns, UploadPolicy};

    const ROOM: u64 = 1 << 20;
    const WITHIN: Duration = Duration::from_secs(60);

    async fn spool(target: &Target, state: &TempDir) -> Arc<Spool> {
        let opening = Spool::open(state.path(), Place::of(target), ROOM);
        let opened = tokio::time::timeout(WITHIN, opening).await;
        Arc::new(opened.expect("somebody has the folder").unwrap())
    }

    /// A session whose base waits for what never comes, and which seals these batches.
    async fn ending(target: &Target, state: &TempDir, batches: Vec<Batch>) -> Ending {
        let spool = spool(target, state).await;
        let (queue, queued) = bounded(1 << 20);
        let yields = CancellationToken::new();
        let shipper = Shipper {
            target: target.clone(),
            spool: Arc::clone(&spool),
            facts: Facts::new(
                watch::Sender::new(None).subscribe(),
                Arc::default(),
                Revision::ZERO,
                Arc::default(),
            ),
            head: Arc::new(HeadKeeper::new(
                Revision(1),
                Revision::ZERO,
                Some(Revision(1)),
            )),
            deadline: WITHIN.into(),
            turns: Turns::new(UploadPolicy::Always),
            proof: Proof::given(),
            yields: yields.clone(),
        };
        let shipping = shipper.start(queued);
        for batch in batches {
            queue.push(batch).await;
        }
        let waits = |spool: Option<Arc<Spool>>| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(spool);
            }))
        };
        Ending {
            shipping,
            basing: waits(Some(spool)),
            recording: waits(None),
            proving: None,
            yields,
        }
    }

    #[tokio::test]
    async fn whatever_it_ends_with_the_folder_is_free() {
        let (target, state) = (crate::testing::target().await, tempfile::tempdir().unwrap());
        // What has no rows cannot be sealed.
        let empty = Batch {
            first: Revision(2),
            last: Revision(2),
            plain_bytes: 1,
            transactions: Vec::new(),
        };
        let failing = ending(&target, &state, vec![empty]).await;
        failing.wait().await.unwrap_err();
        let yielding = ending(&target, &state, Vec::new()).await;
        yielding.yields.cancel();
        yielding.wait().await.unwrap();
        let dropped = ending(&target, &state, Vec::new()).await;
        drop(dropped);
        spool(&target, &state).await;
    }
}
