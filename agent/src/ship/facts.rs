//! What the watch does not tell and a segment carries beside its rows: granted TTLs, and the source's compact revision.
//! Best effort: a member that does not answer costs facts, never rows.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use revkeep_schemas::Revision;
use revkeep_schemas::segment::{CompactionMark, LeaseFact};
use tokio::sync::watch;

use crate::capture::batch::Batch;
use crate::source::Member;

/// How many lease ids are remembered as stored already. Past it they are forgotten and asked for again.
const KNOWN_LEASES: usize = 100_000;
/// How many leases are asked for in one segment, and how long that may take in all.
const ASKED_AT_ONCE: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(3);
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
    known: HashSet<i64>,
    compact_revision: Revision,
    compaction_asked: Option<Instant>,
}

impl Facts {
    /// Starts with nothing known but the compact revision of the newest base.
    #[must_use]
    pub fn new(member: watch::Receiver<Option<Member>>, compact_revision: Revision) -> Self {
        Self {
            member,
            known: HashSet::new(),
            compact_revision,
            compaction_asked: None,
        }
    }

    /// The facts to store beside the batch.
    pub async fn gather(&mut self, batch: &Batch) -> SegmentFacts {
        let Some(member) = self.member.borrow().clone() else {
            return SegmentFacts::default();
        };
        let mut facts = SegmentFacts::default();
        let gathering = async {
            facts.compaction = self.compaction(&member).await;
            for (id, first_seen) in self.new_leases(batch) {
                match member.granted_ttl(id).await {
                    Ok(Some(granted_ttl_s)) => facts.leases.push(LeaseFact {
                        id,
                        granted_ttl_s,
                        first_seen,
                    }),
                    Ok(None) => {} // Expired or revoked already: nothing to restore.
                    Err(error) => {
                        tracing::debug!(%error, lease = id, "a lease was not resolved");
                        break;
                    }
                }
                self.known.insert(id);
            }
        };
        if tokio::time::timeout(PATIENCE, gathering).await.is_err() {
            tracing::debug!("the source was too slow to resolve all leases of a segment");
        }
        facts
    }

    fn new_leases(&mut self, batch: &Batch) -> Vec<(i64, Revision)> {
        if self.known.len() > KNOWN_LEASES {
            self.known.clear();
        }
        let mut seen = HashSet::new();
        batch
            .transactions
            .iter()
            .flat_map(|stamped| {
                let transaction = &stamped.transaction;
                transaction
                    .leases
                    .iter()
                    .map(|id| (*id, transaction.revision))
            })
            .filter(|(id, _)| !self.known.contains(id) && seen.insert(*id))
            .take(ASKED_AT_ONCE)
            .collect()
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
