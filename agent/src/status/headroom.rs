//! How long the source keeps what is not durable yet: an estimate from the compactions that were seen. Pure.
//!
//! A compaction at C, seen at t, ends the history of everything older than C. If revision C came at T(C), the source
//! kept its history for t − T(C); what comes now can be expected to be kept as long. etcd's own periodic compaction and
//! the API server's, every five minutes, keep that window constant, and of the last few the shortest counts.

use std::collections::VecDeque;
use std::time::Duration;

use revkeep_schemas::Revision;
use tokio::time::Instant;

use super::times::SourceTimes;

/// How many compactions count.
const REMEMBERED: usize = 8;

/// What is known of the source's compactions.
#[derive(Clone, Debug, Default)]
pub(super) struct Compactions {
    compact: Revision,
    /// When the source was last seen, at the compact revision that is known.
    looked: Option<Instant>,
    windows: VecDeque<Duration>,
}

impl Compactions {
    /// Starts at a compact revision that was known before.
    pub(super) fn known(&mut self, compact: Revision) {
        self.compact = self.compact.max(compact);
    }

    /// The source is compacted at `compact`. The compaction came after the look before this one.
    pub(super) fn saw(&mut self, compact: Revision, times: &SourceTimes, now: Instant) {
        if compact > self.compact {
            let kept = self.looked.zip(times.came(compact));
            if let Some((before, came)) = kept {
                self.windows
                    .push_back(before.saturating_duration_since(came));
                if self.windows.len() > REMEMBERED {
                    self.windows.pop_front();
                }
            }
            self.compact = compact;
        }
        self.looked = Some(now);
    }

    /// The compact revision.
    pub(super) fn compact(&self) -> Revision {
        self.compact
    }

    /// How many revisions the source may still compact before `needed`, the first that is not durable, goes: etcd gives
    /// history from its compact revision on.
    pub(super) fn revisions_before(&self, needed: Revision) -> i64 {
        needed.0.saturating_sub(self.compact.0).max(0)
    }

    /// How long until that, if what is needed has been waiting for `waits`; `None` before a compaction was seen.
    pub(super) fn time_before(&self, waits: Duration) -> Option<Duration> {
        let window = self.windows.iter().min()?;
        Some(window.saturating_sub(waits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_window_that_was_seen_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut times = SourceTimes::default();
        for second in 0..2000u64 {
            times.saw(Revision(i64::try_from(second).unwrap() + 1), at(second));
        }
        let mut compactions = Compactions::default();
        compactions.saw(Revision::ZERO, &times, at(100));
        assert_eq!(compactions.time_before(Duration::ZERO), None);
        // Nothing is known of when the first revision came.
        compactions.saw(Revision(1), &times, at(200));
        assert_eq!(compactions.time_before(Duration::ZERO), None);
        compactions.saw(Revision(1), &times, at(595));
        // Revision 301 came at 300 and went between 595 and 600.
        compactions.saw(Revision(301), &times, at(600));
        assert_eq!(
            compactions.time_before(Duration::from_secs(95)),
            Some(Duration::from_secs(200))
        );
        compactions.saw(Revision(301), &times, at(895));
        compactions.saw(Revision(796), &times, at(900));
        assert_eq!(
            compactions.time_before(Duration::ZERO),
            Some(Duration::from_secs(100))
        );
        assert_eq!(
            compactions.time_before(Duration::from_secs(1000)),
            Some(Duration::ZERO)
        );
        assert_eq!(compactions.revisions_before(Revision(800)), 4);
        assert_eq!(compactions.revisions_before(Revision(796)), 0);
    }
}
