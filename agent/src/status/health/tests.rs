//! Each thing that can be wrong, alone.

use revkeep_schemas::Revision;
use revkeep_vault::TimelineId;

use super::super::certificates::Expiry;
use super::super::monitor::{GapCount, LastBase, Monitor};
use super::super::report::Surroundings;
use super::*;
use crate::head::Standing;
use crate::spool::Load;

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
