//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt;

/// Doubles from 100 ms up to a limit, with jitter, so that agents of many clusters do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);

    /// Starts at 100 ms.
    #[must_use]
    pub(crate) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            next: Self::FIRST,
        }
    }

    /// It worked: the next wait is short again.
    pub(crate) const fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// The next wait: between half and all of the current step.
    pub(crate) fn step(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.limit);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_limit_and_starts_again() {
        let limit = Duration::from_secs(30);
        let mut backoff = Backoff::new(limit);
        assert!(backoff.step() <= Backoff::FIRST);
        let last = (0..20).map(|_| backoff.step()).last().unwrap();
        assert!(last >= limit / 2 && last <= limit);
        backoff.reset();
        assert!(backoff.step() <= Backoff::FIRST);
    }
}
