//! Invariant "contiguous", at a base: what lies between what the vault has and the base's own history is stored or recorded
//! as lost before the base is there. Why that has to be so, and why it is enough: [`crate::gap`].

use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_vault::Timeline;
use tokio::time::Instant;

use crate::AgentError;
use crate::gap::Gaps;
use crate::head::HeadKeeper;
use crate::spool::{Name, Spool, reach, without};

/// How long a base waits beside capture while nothing of what is missing comes: longer than a slow store takes for a
/// segment.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often the vault is listed for another base before the first, and the time between, for stores whose listings lag.
const LOOKS: u32 = 2;
const LISTED_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks while it waits.
const LOOK: Duration = Duration::from_millis(50);

/// What a base needs to know of what came before it.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    /// Where the base goes.
    pub timeline: &'a Timeline,
    /// How far the vault reaches.
    pub head: &'a HeadKeeper,
    /// Told of what has not come.
    pub gaps: &'a Gaps,
    /// What waits for the store: it is not lost, however long the store is away. `None` where nothing does.
    pub spool: Option<&'a Spool>,
    /// How long it waits while nothing comes.
    pub patience: Duration,
}

impl Bridge<'_> {
    /// Returns once everything below the compact revision of a base is stored or recorded as lost.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn settle(self, compact: Revision) -> Result<(), AgentError> {
        if self.head.durable().is_none() && compact > Revision::INITIAL.next() {
            self.look_for_another().await?;
        }
        loop {
            self.wait(compact).await;
            let lost = self.unheld(compact);
            if lost.is_empty() {
                break;
            }
            for (first, last) in lost {
                self.gaps.lost(first, last).await;
            }
        }
        self.gaps.recorded().await;
        Ok(())
    }

    /// A first base may be the second: of two agents that begin together, or after a killed one whose base a listing did not
    /// show yet.
    async fn look_for_another(self) -> Result<(), AgentError> {
        let mut looks = 1;
        loop {
            if let Some(reach) = self.timeline.cursor().await? {
                self.head.found(reach);
                return Ok(());
            }
            if looks == LOOKS {
                return Ok(());
            }
            looks += 1;
            tokio::time::sleep(LISTED_WITHIN).await;
        }
    }

    /// What is missing and does not wait for the store here, nor is stored behind what waits.
    fn unheld(self, compact: Revision) -> Vec<(Revision, Revision)> {
        // First what waits: what is acknowledged meanwhile is seen twice, and not overlooked.
        let waiting = self.spool.map_or_else(Vec::new, Spool::names);
        let waiting: Vec<_> = waiting.iter().map(Name::range).collect();
        let Some((durable, beyond)) = self.head.held() else {
            return Vec::new();
        };
        let reached = reach(durable, waiting.iter().copied().chain(beyond));
        let leading = [(durable.next(), reached)];
        let lacking = without(self.head.lacks(compact), leading);
        without(lacking, waiting)
    }

    /// Waits for what is missing as long as anything comes, and without limit for what waits for the store.
    async fn wait(self, compact: Revision) {
        let mut reached = self.head.durable();
        let mut since = Instant::now();
        let mut told = false;
        while !self.head.lacks(compact).is_empty() {
            if !told {
                tracing::debug!(
                    durable = reached.map(|reached| reached.0), %compact,
                    "the base waits for what was captured before its own history"
                );
                self.head.want(compact.previous());
                told = true;
            }
            let now = self.head.durable();
            if now > reached || self.unheld(compact).is_empty() {
                reached = now;
                since = Instant::now();
            }
            if since.elapsed() >= self.patience {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests;
