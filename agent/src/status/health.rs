//! Why the agent is not healthy: everything that stands against a good backup. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::certificates::Usage;
use super::{Phase, Report};
use crate::Schedule;
use crate::capture::batch::Limits;
use crate::config::Dial;
use crate::maintenance::{QuotaLevel, Upkeep, level};

/// What is added to twice the flush interval before a lag counts: an upload may be tried again.
const LAG_GRACE: Duration = Duration::from_secs(30);
/// What a base may take beyond its time.
const BASE_GRACE: TimeDelta = TimeDelta::minutes(10);
/// How early a certificate's end is told.
const CERTIFICATE_NOTICE: TimeDelta = TimeDelta::days(7);

/// From where on something is wrong.
#[derive(Clone, Debug, Default)]
pub struct HealthLimits {
    /// When changes are sent.
    pub flush: Dial<Limits>,
    /// When bases are due.
    pub schedule: Dial<Option<Schedule>>,
    /// What is done for the source, and its quota where it does not tell it.
    pub upkeep: Dial<Upkeep>,
}

impl HealthLimits {
    fn lag(&self) -> Duration {
        self.flush
            .get()
            .interval
            .saturating_mul(2)
            .saturating_add(LAG_GRACE)
    }
}

/// Something that stands against a good backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A constant word, for scripts.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

fn reason(code: &'static str, message: impl Into<String>) -> Reason {
    Reason {
        code,
        message: message.into(),
    }
}

/// Everything, the worst first.
pub(super) fn reasons(report: &Report, limits: &HealthLimits, now: DateTime<Utc>) -> Vec<Reason> {
    let mut found = Vec::new();
    for task in &report.ended {
        found.push(reason(
            "task_ended",
            format!("the {task} task has ended: restart the agent"),
        ));
    }
    if let Some(diverged) = &report.diverged {
        found.push(reason("diverged", diverged.clone()));
    }
    found.extend(capture(report));
    if let Some(error) = &report.source_error
        && report.phase == Phase::Watching
    {
        // The watch is open, and yet the member cannot say that it is up to date: it may be cut off.
        found.push(reason(
            "source_unsure",
            format!("the source does not answer a linearizable read: {error}"),
        ));
    }
    if let Some(error) = &report.vault_error {
        let code = if report.vault_denied {
            "vault_denied"
        } else {
            "vault_away"
        };
        found.push(reason(code, error.clone()));
    }
    found.extend(durability(report, limits));
    found.extend(base(report, limits, now));
    found.extend(certificates(report, now));
    found.extend(source(report, limits));
    found
}

/// What stands against the source itself.
fn source(report: &Report, limits: &HealthLimits) -> Vec<Reason> {
    let alarms = report.alarms.iter().map(|alarm| {
        let what = match alarm.kind {
            "NOSPACE" => "the source refuses writes, its quota is used up: compact, defragment, disarm the alarm",
            _ => "a member of the source is damaged: do not trust it before that is understood",
        };
        let (kind, member) = (alarm.kind, alarm.member_id);
        reason("source_alarm", format!("{kind} is set by member {member:x}: {what}"))
    });
    let mut found: Vec<_> = alarms.collect();
    let upkeep = limits.upkeep.get();
    if let Some(condition) = &report.condition
        && let Some(quota) = condition.quota_bytes.or(upkeep.quota_bytes)
    {
        let (db, used) = (condition.db_bytes, condition.used_bytes);
        let near = format!(
            "the member's file has {db} bytes, {used} of them in use, of a quota of {quota}"
        );
        match level(db, quota) {
            QuotaLevel::Fine => {}
            QuotaLevel::Near => found.push(reason(
                "quota_near",
                format!("{near}: compact and defragment, or raise it"),
            )),
            QuotaLevel::Reached => found.push(reason(
                "quota_reached",
                format!(
                    "{near}: writes are about to be refused; compact and defragment, or raise it"
                ),
            )),
        }
    }
    if let Some(error) = &report.upkeep.error {
        found.push(reason("defragmentation_failed", error));
    }
    found
}

fn capture(report: &Report) -> Option<Reason> {
    let why = || report.reason.clone();
    match report.phase {
        Phase::Starting => Some(reason("starting", "nothing is known of the source yet")),
        Phase::Opening => Some(reason("starting", "the vault is not open yet")),
        Phase::Stopping => Some(reason("stopping", "the agent was asked to end")),
        Phase::Disconnected => Some(reason(
            if report.source_denied {
                "source_denied"
            } else {
                "disconnected"
            },
            why().unwrap_or_else(|| "the source does not answer".to_owned()),
        )),
        Phase::Paused => Some(reason(
            "paused",
            "what waits to be sealed has no more room: capture relies on the source's history until it has",
        )),
        Phase::Snapshotting | Phase::Watching => None,
    }
}

fn durability(report: &Report, limits: &HealthLimits) -> Vec<Reason> {
    let mut found = Vec::new();
    if let Some(kept) = report.spool.last_kept {
        found.push(reason(
            "spool_full",
            format!(
                "{} bytes wait for the vault, of {} that may: what came after revision {kept} is not kept, and a base heals \
                 what the source still has once the vault is back",
                report.spool.bytes, report.spool.limit
            ),
        ));
    }
    let waiting = report.gaps.found.saturating_sub(report.gaps.recorded);
    if waiting > 0 {
        found.push(reason(
            "gap_waiting",
            format!("{waiting} lost ranges wait to be recorded in the vault"),
        ));
    }
    if report.lag > limits.lag() {
        found.push(reason(
            "lagging",
            format!(
                "{} revisions are not durable, the oldest for {}: durable is {}, the source has {}",
                report.lag_revisions(),
                words(report.lag),
                report.durable,
                report.source
            ),
        ));
        if let Some(headroom) = report.headroom
            && headroom < report.lag
        {
            found.push(reason(
                "compaction_near",
                format!(
                    "the source is expected to compact what is not durable in {}",
                    words(headroom)
                ),
            ));
        }
    }
    found
}

fn base(report: &Report, limits: &HealthLimits, now: DateTime<Utc>) -> Option<Reason> {
    let error = report.base_error.as_deref();
    let Some(last) = report.last_base else {
        let why = error.unwrap_or("none was stored yet");
        let known = report.timeline.is_some();
        return known.then(|| reason("no_base", format!("there is no base: {why}")));
    };
    if let Some(error) = error {
        return Some(reason("base_failed", error));
    }
    let taken = DateTime::from_timestamp_millis(last.taken_unix_ms)?;
    let schedule = limits.schedule.get()?;
    // One may be late; when the next is due as well, something is wrong.
    let due = schedule.next_after(taken)?;
    let missed = schedule.next_after(due)?;
    (now > missed + BASE_GRACE).then(|| {
        reason(
            "base_overdue",
            format!("the newest base is of {taken:?}, and one was due at {due:?}"),
        )
    })
}

fn certificates(report: &Report, now: DateTime<Utc>) -> Vec<Reason> {
    let near = (now + CERTIFICATE_NOTICE).timestamp_millis();
    let ending = report.certificates.iter().filter(|one| one.unix_ms < near);
    ending
        .map(|one| {
            let when = DateTime::from_timestamp_millis(one.unix_ms).unwrap_or_default();
            let whose = match one.usage {
                Usage::Client => "the client's certificate",
                Usage::Authority => "the authority's certificate",
                Usage::Server => "the member's certificate",
            };
            reason(
                "certificate_expires",
                format!("{whose}, {}, expires at {when:?}: renew it", one.place),
            )
        })
        .collect()
}

/// Whole seconds, as in `2m 5s`.
pub(crate) fn words(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

#[cfg(test)]
mod tests;
