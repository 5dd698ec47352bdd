//! What the watch does not tell and a segment carries beside its rows: granted TTLs, and the source's compact revision.
//! Best effort: a member that does not answer costs facts, never rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use revkeep_schemas::Revision;
use revkeep_schemas::segment::{CompactionMark, LeaseFact};
use tokio::sync::watch;

use crate::capture::batch::Batch;
use crate::lease::Leases;
use crate::lineage::{Lineage, Verdict, settle_alone};
use crate::source::Member;

/// How long a segment waits for the compact revision.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least time between two looks at the compact revision.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(2);

/// The facts of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Leases that were not stored before.
    pub leases: Vec<LeaseFact>,
    /// Where the source stood, and its compact revision then, if that has grown.
    pub compaction: Option<CompactionMark>,
}

/// Gathers facts, from the member that capture is connected to.
#[derive(Debug)]
pub struct Facts {
    member: watch::Receiver<Option<Member>>,
    leases: Arc<Leases>,
    compact_revision: Revision,
    lineage: Arc<Lineage>,
    compaction_asked: Option<Instant>,
}

impl Facts {
    /// Starts with nothing known but the compact revision of the newest base.
    #[must_use]
    pub fn new(
        member: watch::Receiver<Option<Member>>,
        leases: Arc<Leases>,
        compact_revision: Revision,
        lineage: Arc<Lineage>,
    ) -> Self {
        Self {
            member,
            leases,
            compact_revision,
            lineage,
            compaction_asked: None,
        }
    }

    /// Takes back leases of segments that were not kept, for the next one.
    pub fn returned(&self, leases: Vec<LeaseFact>) {
        self.leases.returned(leases);
    }

    /// The facts to store beside the batch.
    pub async fn gather(&mut self, batch: &Batch) -> SegmentFacts {
        let member = self.member.borrow().clone();
        let leases = self.leases.facts(batch.last, member.is_some()).await;
        let Some(member) = member else {
            return SegmentFacts {
                leases,
                compaction: None,
            };
        };
        let asking = self.compaction(&member);
        let compaction = tokio::time::timeout(PATIENCE, asking).await;
        SegmentFacts {
            leases,
            compaction: compaction.unwrap_or_else(|_| {
                tracing::debug!("the source was too slow to tell its compact revision");
                None
            }),
        }
    }

    async fn compaction(&mut self, member: &Member) -> Option<CompactionMark> {
        let asked = self.compaction_asked;
        if asked.is_some_and(|asked| asked.elapsed() < COMPACTION_INTERVAL) {
            return None;
        }
        self.compaction_asked = Some(Instant::now());
        match member.compacted_above(self.compact_revision).await {
            Ok(found) => {
                let (revision, compact_revision) = found?;
                // Asked after it, on the same channel: another source may stand behind the endpoint by now.
                match settle_alone(member, &self.lineage.known()).await {
                    Ok(Verdict::Continues | Verdict::Unknown) => {}
                    Ok(Verdict::Other(_)) | Err(_) => return None,
                }
                self.compact_revision = compact_revision;
                Some(CompactionMark {
                    revision,
                    compact_revision,
                })
            }
            Err(error) => {
                tracing::debug!(%error, "the compact revision was not read");
                None
            }
        }
    }
}
