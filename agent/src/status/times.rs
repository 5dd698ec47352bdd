//! When the source was first seen at a revision. Pure: the clock comes in.

use std::collections::VecDeque;

use revkeep_schemas::Revision;
use tokio::time::Instant;

/// Marks that are kept before neighbours are merged.
const MARKS: usize = 2048;
/// Marks are merged up to this part of their age: times far back are known to 2 %, recent ones exactly. Of two neighbours
/// that remain, at most 100 fit into a span that is e times as long as another, so years fit into the bound.
const COARSENESS: u32 = 50;

/// The revisions up to `revision` and above the mark before came from `seen` to `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    seen: Instant,
    until: Instant,
    revision: Revision,
}

/// The source's revisions and when they were first seen; never more than a few thousand marks, whatever the time and the
/// rate.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceTimes {
    marks: VecDeque<Mark>,
}

impl SourceTimes {
    /// The source stands at `revision`.
    pub(super) fn saw(&mut self, revision: Revision, now: Instant) {
        if self
            .marks
            .back()
            .is_some_and(|last| revision <= last.revision)
        {
            return;
        }
        self.marks.push_back(Mark {
            seen: now,
            until: now,
            revision,
        });
        if self.marks.len() > MARKS {
            self.merge(now);
        }
    }

    /// When the revision was first seen, never too late. What was there at the first look counts as new then. `None` for
    /// a revision that was not seen.
    pub(super) fn seen(&self, revision: Revision) -> Option<Instant> {
        let at = self.marks.partition_point(|mark| mark.revision < revision);
        self.marks.get(at).map(|mark| mark.seen)
    }

    /// The same for a revision that came while this looked; `None` for those that were there at the first look.
    pub(super) fn came(&self, revision: Revision) -> Option<Instant> {
        let first = self.marks.front()?;
        (revision > first.revision)
            .then(|| self.seen(revision))
            .flatten()
    }

    /// Merges neighbours: the earlier time for the later revision. The first mark stays as it is.
    fn merge(&mut self, now: Instant) {
        let mut merged: VecDeque<Mark> = VecDeque::with_capacity(MARKS + 1);
        for mark in self.marks.drain(..) {
            let age = now.saturating_duration_since(mark.until);
            let open = merged.len() > 1;
            match merged.back_mut() {
                Some(last) if open && mark.until - last.seen <= age / COARSENESS => {
                    last.until = mark.until;
                    last.revision = mark.revision;
                }
                _ => merged.push_back(mark),
            }
        }
        self.marks = merged;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_there_at_first_is_told_apart() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut times = SourceTimes::default();
        times.saw(Revision(10), start);
        times.saw(Revision(12), later);
        times.saw(Revision(11), later + Duration::from_secs(1));
        assert_eq!(times.seen(Revision(3)), Some(start));
        assert_eq!(times.came(Revision(10)), None);
        assert_eq!(times.came(Revision(11)), Some(later));
        assert_eq!(times.seen(Revision(12)), Some(later));
        assert_eq!(times.seen(Revision(13)), None);
    }

    /// Ten a second for a week: bounded, and right to 2 % of the age, on the early side.
    #[test]
    fn a_week_is_remembered_in_bounds() {
        let start = Instant::now();
        let at =
            |revision: i64| start + Duration::from_millis(100) * u32::try_from(revision).unwrap();
        let mut times = SourceTimes::default();
        let last = 7 * 24 * 3600 * 10;
        for revision in 1..=last {
            times.saw(Revision(revision), at(revision));
            assert!(times.marks.len() <= MARKS);
        }
        for revision in [
            2,
            1000,
            last / 2,
            last - 100_000,
            last - 1000,
            last - 1,
            last,
        ] {
            let seen = times.came(Revision(revision)).unwrap();
            let age = at(last) - at(revision);
            assert!(seen <= at(revision), "{revision}");
            assert!(
                at(revision) - seen <= age / 40 + Duration::from_millis(100),
                "{revision}"
            );
        }
    }
}
