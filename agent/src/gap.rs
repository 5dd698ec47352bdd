//! Revisions that were lost: recorded in the vault as soon as that is certain, by a task of its own.
//!
//! What is exact, and when it is known. Capture has every revision up to L. A source that is compacted at C gives no
//! revision below C any more, to nobody and never again, but it still has the history from C on: a base that is taken of
//! it brings back C to its own revision R, whatever the watch missed. So
//!
//! - `[L+1, C-1]` is lost, and certainly so, at the moment at which the source says that it is compacted at C: when it
//!   refuses the watch from L+1, which names C, or with a snapshot in which C stands. That is when it is recorded; the base
//!   that heals the hole may take hours to upload.
//! - `[C, R]` is not lost as long as a base with that history can still be stored. When the upload of it fails for good
//!   and another snapshot must be taken, of a source that is compacted at C' by then, `[C, C'-1]` is lost as well and
//!   recorded then. Segments that were captured after R do not change that: without the first snapshot's base nothing
//!   leads to them below C'.
//! - When the agent dies before the base is stored, the next one begins at what the vault holds, finds the source's compact
//!   revision again, and records what is lost from there. Recorded ranges may overlap; readers take the union, and
//!   whatever another agent has captured counts as covered all the same.
//!
//! A base waits until every gap that is known is recorded, so that a vault never shows a hole without its reason. Before
//! the first base nothing is lost: coverage begins with its history.
//!
//! **Why no hole is without a record, wherever an agent is killed.** A start goes on at the newest base, so whatever lies
//! before that base's history must be settled before the base is there: nobody looks for it afterwards. What settles it is one
//! rule, which every base passes right before its first object goes up ([`crate::base`], `bridge.rs`), whoever asked for it
//! and whatever capture knows by then: each revision between D, up to which the vault has no hole but recorded ones, and C,
//! where the base's history begins, is in a gap that the store has acknowledged.
//!
//! - Killed before that, the agent leaves no base beyond the hole. The next one goes on at D, and finds what is lost anew.
//! - Killed after it, the agent leaves records of everything between D and C, with the base or without it. What was captured
//!   and not stored may be lost with the process, and is within those records if it lies below C; from C on the base has it.
//! - D only grows, and by acknowledgements alone, so what was settled stays settled however long the base takes to upload.
//!
//! Most often C is far below D and there is nothing to settle. Where it is not, what is missing is usually on its way: in
//! a segment that is not full, in the spool, in the watch, or with another agent. So the base waits for it as long as
//! anything comes, has capture seal what it holds, and records what has not come after a minute in which nothing did. A
//! record is never more than a reason: what is stored later all the same counts as covered, for coverage is computed from
//! bases and segments.
//!
//! **Why retention's deletions are never called lost.** Nothing here looks at what lies before the newest base, neither at
//! a start nor later, and D only grows. Retention thins out older history and keeps what the newest state needs: the newest
//! base and every segment after it. So no range that it deleted lies between D and C.
//!
//! Two agents that both find an empty vault store a first base each. Whoever stores it looks for another one first, and once
//! more two seconds later where the source is compacted, since a listing may lag; then it settles what lies between the
//! two. Only where both look before either stores, the source is compacted between the two snapshots, and the agent with the
//! older one dies before its next segment, nobody knows of the other in time.

use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_vault::{VaultError, fail_point};
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::head::HeadKeeper;
use crate::status::Kind;
use crate::target::Target;

/// The reason that stands in the vault.
const REASON: &str = "compacted before it was captured";
/// The same where what was captured is not what the source had.
const WRONG: &str = "what was captured differs from the source";
/// Gaps that wait for the store. Capture waits with the next one; it has no watch open then.
const WAITING: usize = 16;
/// The longest wait between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// The same for what is in the same segments, or leads to nothing without them.
const DROPPED: &str =
    "in or behind segments of which a part differs from the source, and compacted";

/// A lost range.
#[derive(Clone, Copy, Debug)]
struct Lost {
    first: Revision,
    last: Revision,
    why: Why,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    /// The source has compacted it.
    Compacted,
    /// Segments hold it, otherwise than the source had it.
    Wrong {
        /// Where the history of the base begins that takes their place.
        compact: Revision,
        /// The first revision of such segments that are not stored yet.
        pending: Option<Revision>,
    },
}

/// Where lost ranges are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gaps {
    ranges: mpsc::Sender<Lost>,
    open: Arc<watch::Sender<usize>>,
    head: Arc<HeadKeeper>,
}

/// Records lost ranges.
#[derive(Debug)]
pub struct GapRecorder {
    ranges: mpsc::Receiver<Lost>,
    open: Arc<watch::Sender<usize>>,
    target: Target,
    head: Arc<HeadKeeper>,
}

/// Both ends.
#[must_use]
pub fn gaps(target: Target, head: Arc<HeadKeeper>) -> (Gaps, GapRecorder) {
    let (sender, ranges) = mpsc::channel(WAITING);
    let open = Arc::new(watch::Sender::new(0));
    let gaps = Gaps {
        ranges: sender,
        open: Arc::clone(&open),
        head: Arc::clone(&head),
    };
    let recorder = GapRecorder {
        ranges,
        open,
        target,
        head,
    };
    (gaps, recorder)
}

impl Gaps {
    /// `[first, last]` is lost. An empty range is no gap.
    pub async fn lost(&self, first: Revision, last: Revision) {
        if last < first {
            return;
        }
        tracing::warn!(%first, %last, "revisions are lost: the source compacted them before they were captured");
        self.tell(first, last, Why::Compacted).await;
    }

    /// What was captured of `[first, last]` is not what the source had: no segment that holds any of it is used from now on.
    /// A base takes their place whose history begins at `compact`; what they hold below that is lost with them, and so is what
    /// only they lead to. `pending` is the first revision of such segments that are not stored yet.
    pub async fn wrong(
        &self,
        (first, last): (Revision, Revision),
        compact: Revision,
        pending: Option<Revision>,
    ) {
        self.tell(first, last, Why::Wrong { compact, pending })
            .await;
    }

    async fn tell(&self, first: Revision, last: Revision, why: Why) {
        // The recorder ends after everybody who could tell it of a gap; were it not so, the next start finds this one again.
        if let Ok(room) = self.ranges.reserve().await {
            self.head.monitor().gap_found();
            self.open.send_modify(|open| *open += 1);
            room.send(Lost { first, last, why });
        }
    }

    /// Waits until every gap that was told is recorded.
    pub async fn recorded(&self) {
        // The sender is held by `self`, so this ends by the condition alone.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl GapRecorder {
    /// Runs until nobody is left who could tell of a gap.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_LIMIT);
        while let Some(lost) = self.ranges.recv().await {
            let (first, last) = (lost.first, lost.last);
            fail_point::reached("gap.recording");
            while let Err(error) = self.record(lost).await {
                let wait = backoff.step();
                tracing::warn!(%error, %first, %last, ?wait, "the gap was not recorded, trying again");
                self.head.monitor().not_stored(Kind::Gap, &error);
                tokio::time::sleep(wait).await;
            }
            backoff.reset();
            fail_point::reached("gap.recorded");
            tracing::info!(%first, %last, "the gap is recorded");
            self.head.lost(first, last);
            self.open.send_modify(|open| *open -= 1);
        }
    }

    async fn record(&self, Lost { first, last, why }: Lost) -> Result<(), VaultError> {
        let timeline = &self.target.timeline;
        let Why::Wrong { compact, pending } = why else {
            timeline.put_gap(first, last, REASON).await?;
            return Ok(());
        };
        let segments = timeline.segments().await?;
        let holding = segments
            .iter()
            .filter(|segment| segment.first <= last && segment.last >= first);
        let dropped = holding.map(|segment| segment.first).chain(pending).min();
        // First what goes with them: were the agent killed in between, it would be missing without a reason.
        if let Some(dropped) = dropped.filter(|dropped| *dropped < compact) {
            timeline
                .put_gap(dropped, compact.previous(), DROPPED)
                .await?;
            self.head.lost(dropped, compact.previous());
        }
        timeline.put_distrust(first, last, WRONG).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
