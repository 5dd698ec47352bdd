//! When revisions were seen, as segments and bases say together.
//!
//! A change cannot be seen before it happens, so of several agents the earliest note counts; and since revisions happen in
//! order, a revision was there by the time at which any later one was seen.

use std::collections::BTreeMap;

use revkeep_schemas::Revision;
use revkeep_schemas::segment::SegmentIndex;

/// Spans of revisions, each seen at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// By last revision: the earliest time at which the span was seen.
    spans: BTreeMap<Revision, i64>,
}

impl Spans {
    /// Adds what an index says of a segment that ends at `last`.
    pub fn add(&mut self, index: &SegmentIndex, last: Revision) {
        let ends = index
            .times
            .iter()
            .skip(1)
            .map(|mark| mark.revision.previous());
        for (mark, end) in index.times.iter().zip(ends.chain([last])) {
            self.there_by(end, mark.unix_ms);
        }
    }

    /// Adds that everything up to `revision` was there at a time.
    pub fn there_by(&mut self, revision: Revision, unix_ms: i64) {
        if unix_ms > 0 {
            let seen = self.spans.entry(revision).or_insert(unix_ms);
            *seen = unix_ms.min(*seen);
        }
    }

    /// The newest revision that was seen at `unix_ms` or before.
    #[must_use]
    pub fn newest_by(&self, unix_ms: i64) -> Option<Revision> {
        let mut spans = self.spans.iter().rev();
        spans
            .find(|(_, seen)| **seen <= unix_ms)
            .map(|(last, _)| *last)
    }

    /// When a revision was seen at the latest. `None` when nothing is known of it or of what came after it.
    #[must_use]
    pub fn seen(&self, revision: Revision) -> Option<i64> {
        self.spans.range(revision..).map(|(_, seen)| *seen).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(of: &[(i64, i64)]) -> Spans {
        let mut spans = Spans::default();
        for (last, unix_ms) in of {
            spans.there_by(Revision(*last), *unix_ms);
        }
        spans
    }

    #[test]
    fn the_newest_revision_that_was_seen_by_a_time() {
        let spans = spans(&[(4, 100), (9, 200), (10, 300)]);
        let by = |time| spans.newest_by(time).map(|revision| revision.0);
        assert_eq!(
            [by(99), by(100), by(250), by(900)],
            [None, Some(4), Some(9), Some(10)]
        );
        let seen = |revision| spans.seen(Revision(revision));
        assert_eq!(
            [seen(1), seen(4), seen(5), seen(10), seen(11)],
            [Some(100), Some(100), Some(200), Some(300), None]
        );
    }

    #[test]
    fn the_agent_that_was_not_behind_is_believed() {
        // One agent saw all of it an hour late, another one lives.
        let spans = spans(&[(9, 3_600_000), (5, 200), (9, 300)]);
        assert_eq!(spans.newest_by(250), Some(Revision(5)));
        assert_eq!(spans.newest_by(300), Some(Revision(9)));
        assert_eq!(spans.seen(Revision(3)), Some(200));
        assert_eq!(spans.seen(Revision(9)), Some(300));
    }
}
