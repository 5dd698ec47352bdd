//! When the leader was last heard of.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// When this member last heard of a leader. While that is fresh, it gives its vote to nobody else: the leader's lease,
/// which keeps a member that was cut off or restarted from disturbing the others (etcd calls it check-quorum; Ongaro's
/// thesis, section 6.4.1).
#[derive(Debug)]
pub(super) struct Contact {
    heard: Mutex<Option<Heard>>,
    /// When this member last had a reason to wait with standing for election itself.
    calmed: Mutex<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    leader: u64,
    since: Instant,
    last: Instant,
}

impl Contact {
    pub(super) fn new() -> Self {
        Self {
            heard: Mutex::new(None),
            calmed: Mutex::new(Instant::now()),
        }
    }

    /// The leader has spoken.
    pub(super) fn hear(&self, leader: u64) {
        let now = Instant::now();
        *self.calmed.lock() = now;
        let mut heard = self.heard.lock();
        match &mut *heard {
            Some(heard) if heard.leader == leader => heard.last = now,
            other => {
                *other = Some(Heard {
                    leader,
                    since: now,
                    last: now,
                });
            }
        }
    }

    /// There is a leader, or somebody who may become one: this member leads, has given its vote, or stands itself.
    pub(super) fn calm(&self) {
        *self.calmed.lock() = Instant::now();
    }

    /// The last reason to wait: who has had none for long enough stands for election.
    pub(super) fn calmed(&self) -> Instant {
        *self.calmed.lock()
    }

    /// The leader has asked for another, or was found to be none.
    pub(super) fn forget(&self) {
        *self.heard.lock() = None;
    }

    /// The leader that spoke within the last `lease`.
    pub(super) fn leader_within(&self, lease: Duration) -> Option<u64> {
        let heard = (*self.heard.lock())?;
        (heard.last.elapsed() < lease).then_some(heard.leader)
    }

    /// Whether this leader has been heard of since before `start`, and still was within `lease`.
    pub(super) fn held_since(&self, leader: u64, start: Instant, lease: Duration) -> bool {
        let heard = *self.heard.lock();
        heard.is_some_and(|heard| {
            heard.leader == leader && heard.since <= start && heard.last.elapsed() < lease
        })
    }
}
