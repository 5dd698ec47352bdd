//! Each thing that can be wrong, alone.

use revkeep_schemas::Revision;
use revkeep_vault::{ErrorKind, TimelineId, VaultError};

use super::super::certificates::Expiry;
use super::super::monitor::{GapCount, LastBase, Monitor};
use super::super::report::Surroundings;
use super::*;
use crate::AgentError;
use crate::head::Standing;
use crate::source::{Alarm, Condition};
use crate::spool::Load;
use crate::status::Kind;

const NOW: &str = "2026-11-21T14:31:00Z";

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

fn limits() -> HealthLimits {
    HealthLimits {
        flush: Limits {
            interval: Duration::from_secs(10),
            bytes: 1,
        }
        .into(),
        schedule: Some("*/30 * * * *".parse().unwrap()).into(),
        upkeep: Dial::default(),
    }
}

/// Nothing is wrong.
fn good() -> Report {
    let monitor = Monitor::default();
    monitor.opened(Some(LastBase {
        revision: Revision(5),
        compact_revision: Revision(1),
        taken_unix_ms: at("2026-11-21T14:00:01Z").timestamp_millis(),
    }));
    monitor.enter(Phase::Watching, None);
    let around = Surroundings {
        role: "uploads",
        cluster: "test".to_owned(),
        timeline: Some(TimelineId::FIRST),
        standing: Standing {
            durable: Some(Revision(9)),
            source: Revision(9),
        },
        spool: Load::default(),
        ended: Vec::new(),
    };
    Report::now(&monitor, around, &HealthLimits::default())
}

fn codes(report: &Report) -> Vec<&'static str> {
    let found = reasons(report, &limits(), at(NOW));
    found.iter().map(|reason| reason.code).collect()
}

#[test]
fn nothing_wrong_is_healthy() {
    assert_eq!(codes(&good()), [""; 0]);
    assert!(good().is_ready());
}

#[test]
fn each_fault_has_its_word() {
    let mut report = good();
    report.ended = vec!["base"];
    assert_eq!(codes(&report), ["task_ended"]);

    let mut report = good();
    report.phase = Phase::Disconnected;
    assert_eq!(codes(&report), ["disconnected"]);

    let mut report = good();
    report.vault_error = Some("away".to_owned());
    assert_eq!(codes(&report), ["vault_away"]);

    let mut report = good();
    report.spool.last_kept = Some(Revision(8));
    assert_eq!(codes(&report), ["spool_full"]);

    let mut report = good();
    report.gaps = GapCount {
        found: 2,
        recorded: 1,
        revisions: 3,
    };
    assert_eq!(codes(&report), ["gap_waiting"]);

    let mut report = good();
    report.last_base = None;
    assert_eq!(codes(&report), ["no_base"]);

    let mut report = good();
    report.base_error = Some("its hash differs".to_owned());
    assert_eq!(codes(&report), ["base_failed"]);

    let mut report = good();
    report.certificates = vec![Expiry {
        usage: Usage::Client,
        place: "client.crt".to_owned(),
        unix_ms: at("2026-11-25T00:00:00Z").timestamp_millis(),
    }];
    assert_eq!(codes(&report), ["certificate_expires"]);
}

#[test]
fn a_lag_counts_beyond_two_flushes_and_a_grace() {
    let mut report = good();
    report.source = Revision(20);
    report.lag = Duration::from_secs(50);
    assert_eq!(codes(&report), [""; 0]);
    report.lag = Duration::from_secs(51);
    assert_eq!(codes(&report), ["lagging"]);
    report.headroom = Some(Duration::from_secs(200));
    assert_eq!(codes(&report), ["lagging"]);
    report.headroom = Some(Duration::from_secs(20));
    assert_eq!(codes(&report), ["lagging", "compaction_near"]);
}

#[test]
fn one_base_may_be_late_but_not_two() {
    let taken = |time: &str| {
        let mut report = good();
        let taken_unix_ms = at(time).timestamp_millis();
        report.last_base = report.last_base.map(|base| LastBase {
            taken_unix_ms,
            ..base
        });
        codes(&report)
    };
    assert_eq!(taken("2026-11-21T13:29:00Z"), ["base_overdue"]);
    assert_eq!(taken("2026-11-21T13:31:00Z"), [""; 0]);
}

#[test]
fn what_has_to_be_granted_is_told_apart_from_what_is_away() {
    let told = |report: &mut Report, monitor: &Monitor| {
        monitor.read(|told| {
            report.phase = told.phase;
            report.reason.clone_from(&told.reason);
            report.source_denied = told.source_denied;
            report.vault_error.clone_from(&told.vault_error);
            report.vault_denied = told.vault_denied;
        });
        codes(report)
    };
    let mut report = good();
    let monitor = Monitor::default();
    monitor.enter(Phase::Watching, None);
    let refused = VaultError::new(ErrorKind::Config, "the store denies it");
    monitor.not_stored(Kind::Segment, &refused);
    assert_eq!(told(&mut report, &monitor), ["vault_denied"]);
    monitor.not_stored(
        Kind::Segment,
        &VaultError::new(ErrorKind::Retry, "no route"),
    );
    assert_eq!(told(&mut report, &monitor), ["vault_away"]);
    monitor.stored(Kind::Segment);
    let denied = AgentError::Denied {
        endpoint: "e:1".to_owned(),
        operation: "snapshot",
        reason: "no".to_owned(),
        advice: "grant it".to_owned(),
    };
    monitor.enter(Phase::Disconnected, Some(&denied));
    assert_eq!(told(&mut report, &monitor), ["source_denied"]);
    assert!(report.reason.as_ref().unwrap().contains("grant it"));
    monitor.enter(Phase::Disconnected, Some(&"no route"));
    assert_eq!(told(&mut report, &monitor), ["disconnected"]);
    assert!(denied.least_wait() > AgentError::Unwell(String::new()).least_wait());
}

#[test]
fn quota_and_alarms_of_the_source_are_told() {
    let mut report = good();
    let condition = |db_bytes, quota_bytes| {
        Some(Condition {
            db_bytes,
            quota_bytes,
            ..Condition::default()
        })
    };
    report.condition = condition(79, Some(100));
    assert_eq!(codes(&report), [""; 0]);
    report.condition = condition(80, Some(100));
    assert_eq!(codes(&report), ["quota_near"]);
    report.condition = condition(95, Some(100));
    assert_eq!(codes(&report), ["quota_reached"]);
    // It does not tell its quota, and nobody else does.
    report.condition = condition(95, None);
    assert_eq!(codes(&report), [""; 0]);
    let limits = limits();
    limits.upkeep.set(Upkeep {
        quota_bytes: Some(100),
        ..Upkeep::default()
    });
    let found = reasons(&report, &limits, at(NOW));
    assert_eq!(found[0].code, "quota_reached");
    report.condition = None;
    report.alarms = vec![Alarm {
        member_id: 7,
        kind: "NOSPACE",
    }];
    assert_eq!(codes(&report), ["source_alarm"]);
    report.alarms.clear();
    report.source_error = Some("no answer".to_owned());
    assert_eq!(codes(&report), ["source_unsure"]);
}
