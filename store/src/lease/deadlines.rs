//! When each lease ends, as the leader counts it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Far enough not to matter, near enough not to overflow.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The ends of all leases, the next one first. Exists only on a member that leads.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    ends: HashMap<i64, Instant>,
    /// When to look at each lease next: at its end, and after that now and then until it is gone.
    looks: Schedule,
    /// When to note down what is left of each lease.
    checkpoints: Schedule,
}

impl Deadlines {
    /// When a lease ends.
    pub(super) fn end_of(&self, id: i64) -> Option<Instant> {
        self.ends.get(&id).copied()
    }

    /// Sets the end of a lease.
    pub(super) fn set(&mut self, id: i64, end: Instant) {
        self.ends.insert(id, end);
        self.looks.set(id, end);
    }

    /// Forgets a lease.
    pub(super) fn remove(&mut self, id: i64) {
        self.ends.remove(&id);
        self.looks.remove(id);
        self.checkpoints.remove(id);
    }

    /// Leases that have ended, at most `limit`; they come again after `retry` unless they are gone by then.
    pub(super) fn take_ended(&mut self, now: Instant, limit: usize, retry: Duration) -> Vec<i64> {
        let mut ended = Vec::new();
        while ended.len() < limit
            && let Some(id) = self.looks.pop_due(now)
        {
            self.looks.set(id, now + retry);
            ended.push(id);
        }
        ended
    }

    /// Notes down a lease's time at `when`.
    pub(super) fn set_checkpoint(&mut self, id: i64, when: Instant) {
        self.checkpoints.set(id, when);
    }

    /// Leases to note down, at most `limit`, with what is left of them.
    pub(super) fn take_checkpoints(&mut self, now: Instant, limit: usize) -> Vec<(i64, Duration)> {
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(id) = self.checkpoints.pop_due(now)
        {
            if let Some(end) = self.ends.get(&id).filter(|end| **end > now) {
                due.push((id, *end - now));
            }
        }
        due
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.looks.next(), self.checkpoints.next()]
            .into_iter()
            .flatten()
            .min()
    }
}

/// One moment a lease, the next one first.
#[derive(Debug, Default)]
struct Schedule {
    moments: HashMap<i64, Instant>,
    order: BTreeSet<(Instant, i64)>,
}

impl Schedule {
    fn set(&mut self, id: i64, when: Instant) {
        if let Some(before) = self.moments.insert(id, when) {
            self.order.remove(&(before, id));
        }
        self.order.insert((when, id));
    }

    fn remove(&mut self, id: i64) {
        if let Some(before) = self.moments.remove(&id) {
            self.order.remove(&(before, id));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|(when, _)| *when)
    }

    fn pop_due(&mut self, now: Instant) -> Option<i64> {
        let &(when, id) = self.order.first()?;
        if when > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }
}

/// `seconds` from `now`.
pub(super) fn after(now: Instant, seconds: i64) -> Instant {
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    now + seconds.min(NEVER)
}
