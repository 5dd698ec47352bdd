//! How many segments are on their way to the store at once. Pure: the clock comes in.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// The longest wait between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// Segments that may be on their way at once.
const MOST: usize = 8;
/// No other segment is begun while so many bytes are on their way: a large one goes up alone.
const MOST_BYTES: usize = 4 << 20;

/// Grows with what the store takes, and begins again with one after a failure.
#[derive(Debug)]
pub(super) struct Pace {
    backoff: Backoff,
    /// How many may be on their way.
    window: usize,
    flying: usize,
    bytes: usize,
    rests: Option<Instant>,
}

impl Pace {
    /// Nothing is on its way.
    pub(super) const fn new() -> Self {
        Self {
            backoff: Backoff::new(RETRY_LIMIT),
            window: 1,
            flying: 0,
            bytes: 0,
            rests: None,
        }
    }

    /// Whether another one may be begun.
    pub(super) const fn may_start(&self) -> bool {
        self.rests.is_none()
            && self.flying < self.window
            && (self.flying == 0 || self.bytes < MOST_BYTES)
    }

    /// Until when nothing is begun.
    pub(super) const fn rests(&self) -> Option<Instant> {
        self.rests
    }

    /// That time has come.
    pub(super) const fn rested(&mut self) {
        self.rests = None;
    }

    /// One of so many bytes is begun. Gives the bytes that go over the line, at most, until it is stored, where all that
    /// are on their way get the same share of it.
    pub(super) fn started(&mut self, bytes: usize) -> usize {
        self.flying += 1;
        self.bytes += bytes;
        if bytes >= MOST_BYTES {
            // None joins it.
            self.bytes
        } else {
            self.bytes.max(bytes * MOST)
        }
    }

    const fn landed(&mut self, bytes: usize) {
        self.flying = self.flying.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The store has it.
    pub(super) fn stored(&mut self, bytes: usize) {
        self.landed(bytes);
        self.backoff.reset();
        self.window = (self.window + 1).min(MOST);
    }

    /// It was not stored, and the store wants to be left alone for so long at least; gives the wait. Those that fail
    /// together are one failure.
    pub(super) fn failed(&mut self, bytes: usize, least: Duration, now: Instant) -> Duration {
        self.landed(bytes);
        self.window = 1;
        let wait = match self.rests {
            Some(until) => until.saturating_duration_since(now).max(least),
            None => self.backoff.step().max(least),
        };
        self.rests = Some(now + wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_failure_of_many_together_is_one() {
        let now = Instant::now();
        let mut pace = Pace::new();
        for _ in 0..20 {
            pace.started(10);
            pace.stored(10);
        }
        for _ in 0..MOST {
            assert!(pace.may_start());
            pace.started(10);
        }
        assert!(!pace.may_start());
        for _ in 0..MOST {
            let wait = pace.failed(10, Duration::ZERO, now);
            assert!(wait <= Duration::from_millis(100), "{wait:?}");
        }
        assert!(!pace.may_start() && pace.rests().is_some());
        pace.rested();
        assert!(pace.may_start());
        pace.started(10);
        assert!(!pace.may_start(), "one alone tries again");
        let wait = pace.failed(10, Duration::from_secs(9), now);
        assert!(wait >= Duration::from_secs(9));
    }

    #[test]
    fn what_shares_the_line_is_counted() {
        const MIB: usize = 1 << 20;
        let mut pace = Pace::new();
        pace.window = MOST;
        // Seven others may come, one after the other, as long as it takes.
        assert_eq!(pace.started(MIB), 8 * MIB);
        // What is on its way already is larger.
        assert_eq!(pace.started(1000), MIB + 1000);
        // A large one waits for both, and nobody joins it.
        assert_eq!(pace.started(8 * MIB), 9 * MIB + 1000);
        assert!(!pace.may_start());
    }

    proptest! {
        /// Within the bounds whatever happens, and never stuck.
        #[test]
        fn stays_within_its_bounds(steps in proptest::collection::vec((0usize..4, 0usize..9 << 20), 0..200)) {
            let now = Instant::now();
            let mut pace = Pace::new();
            let mut flying: Vec<usize> = Vec::new();
            for (step, bytes) in steps {
                match step {
                    0 | 1 if pace.may_start() => {
                        pace.started(bytes);
                        flying.push(bytes);
                    }
                    2 => if let Some(bytes) = flying.pop() {
                        pace.stored(bytes);
                    },
                    3 => if let Some(bytes) = flying.pop() {
                        pace.failed(bytes, Duration::ZERO, now);
                    },
                    _ => pace.rested(),
                }
                prop_assert!(flying.len() <= MOST);
                let largest = flying.iter().max().copied().unwrap_or_default();
                prop_assert!(flying.iter().sum::<usize>() <= MOST_BYTES + largest);
                prop_assert!(!flying.is_empty() || pace.may_start() || pace.rests().is_some());
            }
        }
    }
}
