//! How the agent is at one moment: every answer, by whichever way, is one of these.

use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_vault::TimelineId;
use tokio::time::Instant;

use super::certificates::Expiry;
use super::health::{Reason, reasons};
use super::monitor::{GapCount, LastBase, LastSnapshot, Monitor, Told, Upkept};
use super::{HealthLimits, Phase, Tally};
use crate::head::Standing;
use crate::source::{Alarm, Condition};
use crate::spool::Load;

/// The agent at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// The cluster's name in the vault.
    pub cluster: String,
    /// The timeline; `None` while the vault is not open.
    pub timeline: Option<TimelineId>,
    /// What capture does.
    pub phase: Phase,
    /// Since when, in milliseconds since 1970.
    pub phase_since_unix_ms: i64,
    /// Why the source is not read; `None` when it is.
    pub not_ready: Option<String>,
    /// What stands against a good backup; none when it is healthy.
    pub reasons: Vec<Reason>,
    /// The newest revision that the source is known to have.
    pub source: Revision,
    /// The newest revision that can be brought back; 0 before the first base.
    pub durable: Revision,
    /// For how long the oldest revision that is not durable has been waiting.
    pub lag: Duration,
    /// The newest base.
    pub last_base: Option<LastBase>,
    /// The last snapshot that this process took.
    pub last_snapshot: Option<LastSnapshot>,
    /// How many it took.
    pub snapshots: u64,
    /// Lost ranges that this process found.
    pub gaps: GapCount,
    /// What went to the object store.
    pub tally: Tally,
    /// The source's compact revision.
    pub compact: Revision,
    /// How many revisions the source may still compact before one goes that is not durable; `None` before a base.
    pub headroom_revisions: Option<i64>,
    /// How long until then, by the compactions that were seen; `None` while none was.
    pub headroom: Option<Duration>,
    /// What waits for the object store.
    pub spool: Load,
    /// When certificates expire.
    pub certificates: Vec<Expiry>,
    /// What the source's last answer to a linearizable read was, if that is an error.
    pub source_error: Option<String>,
    /// How long the source took for the last that it answered.
    pub source_latency: Option<Duration>,
    /// How the member is that is watched; `None` before it was asked.
    pub condition: Option<Condition>,
    /// Alarms that are set in the source.
    pub alarms: Vec<Alarm>,
    /// What was done for the source.
    pub upkeep: Upkept,
    /// The object store's last answer, if that is an error.
    pub vault_error: Option<String>,
    /// Whether somebody has to grant or mend something at the object store.
    pub vault_denied: bool,
    /// Whether somebody has to grant or mend something at the source.
    pub source_denied: bool,
    /// The last base that was tried, if that came to nothing.
    pub base_error: Option<String>,
    /// Why capture is where it is, if that is an error.
    pub reason: Option<String>,
    /// Why nothing of the member is stored, if its content is not that of its cluster.
    pub diverged: Option<String>,
    /// Whether this agent uploads, or follows another one that does.
    pub role: &'static str,
    /// Tasks that have ended and should not have.
    pub ended: Vec<&'static str>,
}

/// What a report is made of beside what the tasks told.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) cluster: String,
    pub(super) timeline: Option<TimelineId>,
    /// What the vault has acknowledged.
    pub(super) standing: Standing,
    /// What waits to be.
    pub(super) spool: Load,
    pub(super) ended: Vec<&'static str>,
    pub(super) role: &'static str,
}

impl Report {
    /// How it is now.
    pub(super) fn now(monitor: &Monitor, around: Surroundings, limits: &HealthLimits) -> Self {
        let now = Instant::now();
        // Everything that is known of the source counts, also what came since the last look.
        monitor.source_at(around.standing.source, now);
        let mut report = monitor.read(|told| Self::of(told, around, now));
        report.reasons = reasons(&report, limits, Utc::now());
        report
    }

    fn of(told: &Told, around: Surroundings, now: Instant) -> Self {
        let Surroundings {
            cluster,
            timeline,
            standing,
            spool,
            ended,
            role,
        } = around;
        let durable = standing.durable.unwrap_or_default();
        let source = standing.source.max(durable);
        let waits = (source > durable)
            .then(|| told.times.seen(durable.next()))
            .flatten();
        let lag = waits.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        let needed = durable.next();
        Self {
            cluster,
            timeline,
            phase: told.phase,
            phase_since_unix_ms: told.phase_since_unix_ms,
            not_ready: not_ready(told),
            reasons: Vec::new(),
            source,
            durable,
            lag,
            last_base: told.last_base,
            last_snapshot: told.last_snapshot,
            snapshots: told.snapshots,
            gaps: told.gaps,
            tally: told.tally.clone(),
            compact: told.compactions.compact(),
            headroom_revisions: standing
                .durable
                .map(|_| told.compactions.revisions_before(needed)),
            headroom: standing
                .durable
                .and_then(|_| told.compactions.time_before(lag)),
            spool,
            certificates: told.certificates.clone(),
            source_error: told.source_error.clone(),
            source_latency: told.source_latency,
            condition: told.condition.clone(),
            alarms: told.alarms.clone(),
            upkeep: told.upkeep.clone(),
            vault_error: told.vault_error.clone(),
            vault_denied: told.vault_denied,
            source_denied: told.source_denied,
            base_error: told.base_error.clone(),
            reason: told.reason.clone(),
            diverged: told.diverged.clone(),
            role,
            ended,
        }
    }

    /// How many revisions are not durable.
    #[must_use]
    pub fn lag_revisions(&self) -> i64 {
        self.source.0.saturating_sub(self.durable.0)
    }

    /// Whether the source is read. Never depends on the object store.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.not_ready.is_none()
    }

    /// Whether nothing stands against a good backup.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.reasons.is_empty()
    }
}

fn not_ready(told: &Told) -> Option<String> {
    let phase = told.phase;
    if !phase.reads_source() {
        let why = told.reason.as_ref();
        return Some(why.map_or_else(|| phase.word().to_owned(), Clone::clone));
    }
    // While capture pauses nothing else would notice that the source is away.
    match &told.source_error {
        Some(error) if phase == Phase::Paused => Some(error.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(monitor: &Monitor) -> bool {
        Report::now(monitor, Surroundings::default(), &HealthLimits::default()).is_ready()
    }

    #[test]
    fn only_the_source_decides_on_readiness() {
        let monitor = Monitor::default();
        assert!(!ready(&monitor));
        for (phase, is_ready) in [
            (Phase::Opening, true),
            (Phase::Snapshotting, true),
            (Phase::Watching, true),
            (Phase::Disconnected, false),
            (Phase::Paused, true),
        ] {
            monitor.enter(phase, None);
            monitor.vault_failed(&"away");
            assert_eq!(ready(&monitor), is_ready, "{phase:?}");
        }
        // The poll is all that is known of the source while capture pauses.
        monitor.source_answered(Err("no route".to_owned()));
        assert!(!ready(&monitor));
        monitor.source_answered(Ok(Duration::ZERO));
        assert!(ready(&monitor));
        monitor.enter(Phase::Stopping, None);
        monitor.enter(Phase::Watching, None);
        assert!(!ready(&monitor));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lag_is_the_age_of_the_oldest_that_is_not_durable() {
        let monitor = Monitor::default();
        let report = |durable: Option<i64>, source| {
            let standing = Standing {
                durable: durable.map(Revision),
                source: Revision(source),
            };
            let around = Surroundings {
                standing,
                ..Surroundings::default()
            };
            Report::now(&monitor, around, &HealthLimits::default())
        };
        let second = Duration::from_secs(1);
        assert_eq!(report(Some(10), 10).lag, Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(report(Some(10), 12).lag, Duration::ZERO);
        tokio::time::advance(second).await;
        let behind = report(Some(10), 15);
        assert_eq!((behind.lag, behind.lag_revisions()), (second, 5));
        tokio::time::advance(second).await;
        assert_eq!(report(Some(12), 15).lag, second);
        assert_eq!(report(Some(15), 15).lag, Duration::ZERO);
        // Before the first base everything waits.
        assert_eq!(report(None, 15).lag, second * 3);
    }
}
