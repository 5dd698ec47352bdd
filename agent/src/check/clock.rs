//! The clock of this machine against the object store's. Pure.

use chrono::TimeDelta;

use super::Report;

/// A difference that is told. Stores stamp whole seconds.
const TOLD: TimeDelta = TimeDelta::seconds(5);
/// From here on S3 refuses requests, and times in backups mislead.
const WRONG: TimeDelta = TimeDelta::minutes(10);

/// Judges how far the store's clock is ahead of ours, in milliseconds.
pub(super) fn judge(ahead_ms: i64, report: &mut Report) {
    let off = TimeDelta::milliseconds(ahead_ms);
    let seconds = off.num_seconds().abs();
    let side = if ahead_ms > 0 { "behind" } else { "ahead of" };
    let text = format!("this machine's clock is {seconds} s {side} the object store's");
    let advice = "see whether it is synchronised: times of recovery points are this machine's";
    if off.abs() >= WRONG {
        report.fail("clock", text, advice);
    } else if off.abs() >= TOLD {
        report.warn("clock", text, advice);
    } else {
        report.ok("clock", "as the object store's");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told() {
        for (ahead_ms, verdict, word) in [
            (0, Verdict::Ok, "as the"),
            (-4999, Verdict::Ok, "as the"),
            (6000, Verdict::Warn, "6 s behind"),
            (-6000, Verdict::Warn, "6 s ahead of"),
            (3_600_000, Verdict::Fail, "3600 s behind"),
        ] {
            let mut report = Report::default();
            judge(ahead_ms, &mut report);
            assert_eq!(report.verdict(), verdict);
            assert!(report.findings[0].found.contains(word), "{report:?}");
        }
    }
}
