//! Reads and writes the head, and says whose turn it is.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::Head;
use revkeep_vault::{ErrorKind, HeadVersion, VaultError, fail_point};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::turns::View;
use super::{Action, Turn, Turns};
use crate::head::HeadKeeper;
use crate::status::Kind;
use crate::target::Target;

/// Between two heads of an uploader to which nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(75);
/// Between two heads of one that is followed and uploads.
const PUBLISH: Duration = Duration::from_secs(1);
/// How often an uploader looks for followers while it uploads.
const LOOK: Duration = Duration::from_secs(10);
/// How long one that has just taken the turn looks whether another one has too, also while nothing happens.
const FRESH: Duration = Duration::from_secs(120);
/// How often a follower reads the head while it holds something, and while it does not.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(15);
/// How often a follower says that it follows, and how long that counts.
const ANNOUNCE: Duration = Duration::from_secs(20 * 60);
const FOLLOWED: Duration = Duration::from_secs(60 * 60);
/// How long an agent waits for another one's first base.
pub(super) const FIRST_BASE: Duration = Duration::from_secs(20);

/// The task. One for each timeline that is captured.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact"
)]
pub struct TurnTask {
    target: Target,
    head: Arc<HeadKeeper>,
    turns: Arc<Turns>,
    turn: Turn,
    id: u64,
    version: Option<HeadVersion>,
    /// What the head says of followers, and since when it says that.
    followed: Option<(i64, Instant)>,
    /// What was written last.
    written: Option<(Instant, Revision, Revision)>,
    /// The time in the last head that was made, in milliseconds since 1970.
    heartbeat: i64,
    looked: Instant,
    begun: bool,
    /// Nothing is known of another uploader, and the head cannot be read or written: better two than none.
    uncertain: bool,
    /// When the turn was taken.
    claimed: Option<Instant>,
    /// Somebody else may have written the head since it was read.
    stale: bool,
    follows: bool,
}

impl TurnTask {
    /// The task of an agent with this id, which seals what it captures within this time.
    #[must_use]
    pub fn new(
        target: Target,
        head: Arc<HeadKeeper>,
        turns: Arc<Turns>,
        (id, interval): (u64, Duration),
    ) -> Self {
        let now = Instant::now();
        let turn = Turn::new(id, target.timeline.id(), interval, now);
        Self {
            target,
            head,
            turns,
            turn,
            id,
            version: None,
            followed: None,
            written: None,
            heartbeat: 0,
            looked: now,
            begun: false,
            uncertain: false,
            claimed: None,
            stale: false,
            follows: false,
        }
    }

    /// Runs until `done`; an uploader then says that nobody uploads any more.
    pub async fn run(mut self, done: CancellationToken) {
        loop {
            let round = async {
                self.round().await;
                self.pause().await;
            };
            tokio::select! {
                () = done.cancelled() => break,
                () = round => {}
            }
        }
        if self.turn.uploads() {
            let mut last = self.head_of(self.turn.number());
            last.uploader = 0;
            self.put(&last).await;
        }
    }

    async fn pause(&self) {
        let wait = if self.turn.uploads() {
            PUBLISH
        } else if self.turns.holding().is_some() || !self.begun {
            BUSY
        } else {
            IDLE
        };
        let held = async {
            self.turns.held.notified().await;
            tokio::time::sleep(BUSY).await;
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = held => {}
            () = self.head.based() => {}
        }
    }

    async fn round(&mut self) {
        if self.turn.uploads() {
            self.lead().await;
        } else {
            self.read().await;
            let look = self.turn.look(self.turns.holding(), Instant::now());
            self.act(look).await;
            self.announce().await;
        }
        self.tell();
    }

    fn tell(&self) {
        let base = match (&self.turn.uploader(), self.turn.uploads()) {
            (Some(_), false) => self.turns.view().base,
            _ => Revision::ZERO,
        };
        self.turns.tell(View {
            known: self.begun,
            uploads: self.turn.uploads() || self.uncertain,
            durable: self.turn.durable(),
            compact: self.turn.compact(),
            base,
        });
    }

    /// An uploader writes the head when it is time, or there is something to say.
    async fn lead(&mut self) {
        let (base, _, durable) = self.head.basis();
        let durable = durable.unwrap_or_default();
        let now = Instant::now();
        let moved = self.written.is_none_or(|(_, told, _)| told != durable);
        let looked = now.saturating_duration_since(self.looked);
        let fresh = self
            .claimed
            .is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        if self.stale || ((moved || fresh) && looked >= LOOK) {
            self.read().await;
            if !self.turn.uploads() {
                return;
            }
        }
        let followed = self
            .followed
            .is_some_and(|(_, since)| now.saturating_duration_since(since) < FOLLOWED);
        let due = match self.written {
            None => true,
            Some((at, _, told)) => {
                now.saturating_duration_since(at) >= HEARTBEAT
                    || told != base
                    || (moved && followed)
            }
        };
        if !due {
            return;
        }
        if looked >= PUBLISH {
            // Not every store compares versions: what another agent wrote is looked at before it is written over.
            self.read().await;
        }
        if self.turn.uploads() {
            let head = self.head_of(self.turn.number());
            self.put(&head).await;
        }
    }

    fn head_of(&mut self, number: u64) -> Head {
        let (base, compact, durable) = self.head.basis();
        let durable = durable.unwrap_or_default();
        let now = Utc::now().timestamp_millis();
        // By a head that differs from the one before others see that its writer lives, whatever its clock does.
        self.heartbeat = if self.heartbeat == now { now + 1 } else { now };
        Head {
            timeline: self.target.timeline.id(),
            base_revision: base,
            durable_revision: durable,
            heartbeat_unix_ms: self.heartbeat,
            source_revision: self.head.standing().source,
            compact_revision: compact,
            uploader: self.id,
            turn: number,
            followed_unix_ms: self.followed.map_or(0, |(said, _)| said),
        }
    }

    /// Reads the head, and does what follows from it.
    async fn read(&mut self) {
        self.looked = Instant::now();
        let read = self.target.cluster.head_version().await;
        let head = match read {
            Ok(Some((head, version))) => {
                self.version = Some(version);
                Some(head)
            }
            Ok(None) => {
                self.version = None;
                None
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(%error, "the head is damaged; it is a hint, and is written again");
                self.version = None;
                None
            }
            Err(error) => return self.unread(&error),
        };
        self.head.monitor().vault_answers();
        self.begun = true;
        self.uncertain = false;
        self.stale = false;
        let now = Instant::now();
        if let Some(head) = &head {
            let said = head.followed_unix_ms;
            if said != 0 && self.followed.is_none_or(|(known, _)| known != said) {
                self.followed = Some((said, now));
            }
        }
        let led = self.turn.uploads();
        let action = self.turn.saw(head.as_ref(), now);
        if let Some(head) = head.filter(|head| head.timeline == self.target.timeline.id())
            && !self.turn.uploads()
        {
            let view = self.turns.view();
            self.turns.tell(View {
                base: head.base_revision,
                ..view
            });
            self.head.told(&head);
        }
        self.act(action).await;
        let follows = !self.turn.uploads() && self.turn.uploader().is_some();
        if follows && (led || !self.follows) {
            tracing::info!(
                turn = self.turn.number(),
                "another agent uploads: this one follows, and holds what is not in the vault"
            );
        }
        self.follows = follows;
    }

    fn unread(&mut self, error: &VaultError) {
        self.head.monitor().vault_failed(error);
        if !self.begun && !self.uncertain {
            tracing::warn!(%error, "the head was not read: this agent uploads until it knows of another one");
            self.uncertain = true;
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Wait => {}
            Action::Assert => {
                let head = self.head_of(self.turn.number());
                self.put(&head).await;
            }
            Action::Claim(reason) => self.claim(reason).await,
        }
    }

    async fn claim(&mut self, reason: &'static str) {
        let after = self.turn.uploader().is_some();
        let covered = self.turn.durable();
        let head = self.head_of(self.turn.next());
        match self.write(&head).await {
            Ok(true) => {
                self.turn.claimed(&head, Instant::now());
                self.uncertain = false;
                self.claimed = Some(Instant::now());
                self.stale = true;
                tracing::info!(turn = head.turn, reason, "this agent uploads");
                self.tell();
                if after {
                    self.prove(covered).await;
                }
            }
            Ok(false) => tracing::debug!("another agent was first"),
            Err(error) => self.unwritten(&error),
        }
    }

    /// The vault has what the head before said, or it is captured again.
    async fn prove(&self, covered: Revision) {
        match self.target.timeline.cursor().await {
            Ok(cursor) if cursor.unwrap_or_default() < covered => {
                tracing::error!(
                    cursor = cursor.map(|cursor| cursor.0), said = %covered,
                    "the vault does not reach as far as the head said: it is captured again from there"
                );
                self.turns.lacking.cancel();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the vault was not listed after a change of hands");
            }
        }
    }

    async fn announce(&mut self) {
        let now = Instant::now();
        if !self.turn.announces(ANNOUNCE, now) {
            return;
        }
        // Over the very head that was read, and otherwise the same.
        let Ok(Some((mut head, version))) = self.target.cluster.head_version().await else {
            return;
        };
        head.followed_unix_ms = Utc::now().timestamp_millis();
        let put = self.target.cluster.replace_head(&head, Some(version)).await;
        match put {
            Ok(Some(version)) => {
                self.head.monitor().stored(Kind::Head);
                self.version = Some(version);
                self.turn.wrote(&head, now);
                self.turn.announced(now);
            }
            Ok(None) => {}
            Err(error) => self.unwritten(&error),
        }
    }

    /// Writes one's own head; reads it again where somebody else was there meanwhile.
    async fn put(&mut self, head: &Head) {
        match self.write(head).await {
            Ok(true) => self.turn.wrote(head, Instant::now()),
            Ok(false) => self.stale = true,
            Err(error) => self.unwritten(&error),
        }
    }

    async fn write(&mut self, head: &Head) -> Result<bool, VaultError> {
        let cluster = &self.target.cluster;
        fail_point::reached("head.writing");
        let written = cluster.replace_head(head, self.version.clone()).await?;
        fail_point::reached("head.written");
        let Some(version) = written else {
            if self.version.is_none() && cluster.head_version().await.is_err() {
                // What stands there is damaged.
                cluster.put_head(head).await?;
                return Ok(true);
            }
            return Ok(false);
        };
        self.version = Some(version);
        self.written = Some((Instant::now(), head.durable_revision, head.base_revision));
        self.head.monitor().stored(Kind::Head);
        Ok(true)
    }

    fn unwritten(&mut self, error: &VaultError) {
        tracing::warn!(%error, "the head was not written; it is a hint, and nothing is lost");
        self.head.monitor().not_stored(Kind::Head, error);
        // Not tried again at once.
        let (base, _, durable) = self.head.basis();
        self.written = Some((Instant::now(), durable.unwrap_or_default(), base));
        self.uncertain = !self.turn.uploads() && self.turn.uploader().is_none();
    }
}
