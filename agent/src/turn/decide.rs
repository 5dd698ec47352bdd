//! What to do about the head that was read. Pure: the clock comes in.

use std::time::Duration;

use clap::ValueEnum;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use revkeep_schemas::names::TimelineId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How long the vault may take to reach the first revision of a segment that was sealed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a new follower waits for the uploader to notice it.
const SETTLING: Duration = Duration::from_secs(15);
/// How long a head may stay the same.
const SILENCE: Duration = Duration::from_secs(240);

/// Who uploads where there are several agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadPolicy {
    /// One of them.
    #[default]
    One,
    /// This one in any case.
    Always,
}

/// The oldest segment that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its first revision.
    pub first: Revision,
    /// Its last revision.
    pub last: Revision,
    /// Since when it waits.
    pub since: Instant,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Take the turn: write the head with one's own id and the next number.
    Claim(&'static str),
    /// Somebody else wrote it who is not right: write it again.
    Assert,
}

/// What is known of whose turn it is.
#[derive(Clone, Debug)]
pub struct Turn {
    id: u64,
    timeline: TimelineId,
    /// The longest time that a change waits before it is sealed.
    interval: Duration,
    uploads: bool,
    number: u64,
    /// Since when the head is as it is.
    changed: Instant,
    /// When the uploader was told that this agent follows.
    announced: Option<Instant>,
    head: Option<Head>,
    durable: Revision,
    /// The highest compact revision of the source that heads of this timeline say.
    compact: Revision,
}

impl Turn {
    /// Of an agent that knows nothing yet.
    #[must_use]
    pub fn new(id: u64, timeline: TimelineId, interval: Duration, now: Instant) -> Self {
        Self {
            id,
            timeline,
            interval,
            uploads: false,
            number: 0,
            changed: now,
            announced: None,
            head: None,
            durable: Revision::ZERO,
            compact: Revision::ZERO,
        }
    }

    /// Whether this agent uploads.
    #[must_use]
    pub const fn uploads(&self) -> bool {
        self.uploads
    }

    /// The number of the turn.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// How far the vault reaches, by heads of this timeline.
    #[must_use]
    pub const fn durable(&self) -> Revision {
        self.durable
    }

    /// Where the source is compacted, by heads of this timeline. Below it the uploader may have recorded as lost what this
    /// agent holds, and have passed over it onto a base.
    #[must_use]
    pub const fn compact(&self) -> Revision {
        self.compact
    }

    /// The uploader that the head names, where that is another agent.
    #[must_use]
    pub fn uploader(&self) -> Option<u64> {
        let head = self.head.as_ref()?;
        (head.uploader != 0 && head.uploader != self.id).then_some(head.uploader)
    }

    /// The head was read, or there is none.
    pub fn saw(&mut self, head: Option<&Head>, now: Instant) -> Action {
        if self.head.as_ref() != head {
            self.changed = now;
        }
        self.head = head.cloned();
        let Some(head) = head else {
            return Action::Claim("there is no head");
        };
        if head.timeline == self.timeline {
            self.durable = self.durable.max(head.durable_revision);
            self.compact = self.compact.max(head.compact_revision);
        }
        let theirs = head.uploader != 0 && head.uploader != self.id;
        if self.uploads {
            let loses = head.turn > self.number
                || (head.turn == self.number && theirs && head.uploader < self.id);
            if loses && theirs && head.timeline == self.timeline {
                self.follow(head.turn, now);
                return Action::Wait;
            }
            self.number = self.number.max(head.turn);
            return if head.uploader == self.id && head.turn == self.number {
                Action::Wait
            } else {
                Action::Assert
            };
        }
        self.number = self.number.max(head.turn);
        if head.uploader == self.id {
            return Action::Claim("this agent uploaded before");
        }
        if head.uploader == 0 {
            return Action::Claim("nobody uploads");
        }
        if head.timeline < self.timeline {
            return Action::Claim("the head is of an older timeline");
        }
        Action::Wait
    }

    fn follow(&mut self, number: u64, now: Instant) {
        self.uploads = false;
        self.number = number;
        self.changed = now;
        self.announced = None;
    }

    /// The head was written by this agent, with the number that [`Turn::next`] gave.
    pub fn claimed(&mut self, head: &Head, now: Instant) {
        self.uploads = true;
        self.wrote(head, now);
    }

    /// This agent wrote the head.
    pub fn wrote(&mut self, head: &Head, now: Instant) {
        self.number = self.number.max(head.turn);
        self.changed = now;
        self.head = Some(head.clone());
    }

    /// The number for a claim.
    #[must_use]
    pub fn next(&self) -> u64 {
        match &self.head {
            // One's own turn goes on.
            Some(head) if head.uploader == self.id => self.number.max(1),
            _ => self.number.saturating_add(1),
        }
    }

    /// The head says that this agent follows.
    pub fn announced(&mut self, now: Instant) {
        self.announced = Some(now);
    }

    /// Whether the uploader has yet to be told, first or again after so long.
    #[must_use]
    pub fn announces(&self, every: Duration, now: Instant) -> bool {
        let due = |at: Instant| now.saturating_duration_since(at) >= every;
        !self.uploads && self.uploader().is_some() && self.announced.is_none_or(due)
    }

    /// Looks at what waits.
    #[must_use]
    pub fn look(&self, holding: Option<Holding>, now: Instant) -> Action {
        if self.uploads {
            return Action::Wait;
        }
        let since = |at: Instant| now.saturating_duration_since(at);
        if since(self.changed) > SILENCE {
            return Action::Claim("the head has not changed for long");
        }
        let Some(holding) = holding else {
            return Action::Wait;
        };
        let Some(announced) = self.announced else {
            return Action::Wait;
        };
        // An uploader that was followed before, or has written since, knows of this agent.
        let settled = since(announced) >= SETTLING || self.changed > announced;
        let waited = since(holding.since.max(announced));
        if settled && waited >= PATIENCE && self.durable < holding.first {
            return Action::Claim("what the uploader should have stored is not in the vault");
        }
        let longer = PATIENCE.saturating_add(self.interval);
        if settled && waited >= longer && self.durable < holding.last {
            return Action::Claim("what the uploader should have stored is not in the vault");
        }
        Action::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMELINE: TimelineId = TimelineId(1);
    const INTERVAL: Duration = Duration::from_secs(10);

    fn head(uploader: u64, turn: u64, durable: i64) -> Head {
        Head {
            timeline: TIMELINE,
            uploader,
            turn,
            durable_revision: Revision(durable),
            ..Head::default()
        }
    }

    fn turn(id: u64, now: Instant) -> Turn {
        Turn::new(id, TIMELINE, INTERVAL, now)
    }

    fn uploader(id: u64, number: u64, now: Instant) -> Turn {
        let mut turn = turn(id, now);
        turn.claimed(&head(id, number, 1), now);
        turn
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it is asked for")]
    fn holding(first: i64, last: i64, since: Instant) -> Option<Holding> {
        Some(Holding {
            first: Revision(first),
            last: Revision(last),
            since,
        })
    }

    fn claims(action: Action) -> bool {
        matches!(action, Action::Claim(_))
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_uploader_or_itself_takes_the_turn_at_once() {
        let now = Instant::now();
        assert!(claims(turn(7, now).saw(None, now)));
        assert!(claims(turn(7, now).saw(Some(&head(0, 4, 9)), now)));
        let mut again = turn(7, now);
        assert!(claims(again.saw(Some(&head(7, 4, 9)), now)));
        assert_eq!(again.next(), 4);
        let mut other = turn(8, now);
        assert_eq!(other.saw(Some(&head(7, 4, 9)), now), Action::Wait);
        assert!(!other.uploads());
        assert_eq!((other.next(), other.durable()), (5, Revision(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_larger_number_is_right_and_then_the_smaller_id() {
        let now = Instant::now();
        let mut one = uploader(1, 3, now);
        assert_eq!(one.saw(Some(&head(2, 3, 9)), now), Action::Assert);
        assert!(one.uploads());
        let mut two = uploader(2, 3, now);
        assert_eq!(two.saw(Some(&head(1, 3, 9)), now), Action::Wait);
        assert!(!two.uploads());
        assert_eq!(one.saw(Some(&head(2, 2, 9)), now), Action::Assert);
        assert_eq!(one.saw(Some(&head(2, 4, 9)), now), Action::Wait);
        assert!(!one.uploads());
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_waits_for_the_first_revision_and_longer_for_the_last() {
        let start = Instant::now();
        let mut follower = turn(2, start);
        follower.saw(Some(&head(1, 1, 9)), start);
        assert!(follower.announces(INTERVAL, start));
        let at = |seconds| start + Duration::from_secs(seconds);
        // Before the uploader can have noticed it.
        assert_eq!(follower.look(holding(10, 20, start), at(100)), Action::Wait);
        follower.announced(start);
        assert_eq!(follower.look(holding(10, 20, start), at(14)), Action::Wait);
        assert!(claims(follower.look(holding(10, 20, start), at(15))));
        // It has noticed: five seconds are enough from now on.
        follower.saw(Some(&head(1, 1, 15)), at(20));
        assert_eq!(follower.look(holding(16, 20, at(20)), at(24)), Action::Wait);
        assert!(claims(follower.look(holding(16, 20, at(20)), at(25))));
        // The first revision is there, the last may be in the uploader's next segment.
        assert_eq!(follower.look(holding(10, 20, at(20)), at(34)), Action::Wait);
        assert!(claims(follower.look(holding(10, 20, at(20)), at(35))));
        assert_eq!(follower.look(holding(10, 15, at(20)), at(99)), Action::Wait);
        assert_eq!(follower.look(None, at(200)), Action::Wait);
        assert!(claims(follower.look(None, at(300))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_of_another_timeline_says_nothing_of_this_one() {
        let now = Instant::now();
        let mut turn = turn(2, now);
        let other = Head {
            timeline: TimelineId(2),
            ..head(1, 8, 900)
        };
        assert_eq!(turn.saw(Some(&other), now), Action::Wait);
        assert_eq!(turn.durable(), Revision::ZERO);
        let mut newer = Turn::new(2, TimelineId(3), INTERVAL, now);
        assert!(claims(newer.saw(Some(&other), now)));
    }
}
