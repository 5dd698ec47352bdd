use super::*;

fn after(expression: &str, zone: &str, now: &str) -> String {
    let schedule: Schedule = expression.parse().unwrap();
    let schedule = schedule.in_zone(zone.parse().unwrap());
    let next = schedule.next_after(now.parse().unwrap()).unwrap();
    next.format("%a %d %H:%M:%S").to_string()
}

fn next(expression: &str) -> String {
    // A Saturday.
    after(expression, "UTC", "2026-11-21T14:31:00Z")
}

#[test]
fn reads_what_operators_write() {
    assert_eq!(next("*/30 * * * *"), "Sat 21 15:00:00");
    assert_eq!(next("31 * * * *"), "Sat 21 15:31:00");
    assert_eq!(next("5 3 * * *"), "Sun 22 03:05:00");
    assert_eq!(next("0 3 * * 1"), "Mon 23 03:00:00");
    assert_eq!(next("0 3 * * 0"), "Sun 22 03:00:00");
    assert_eq!(next("0 3 * * 7"), "Sun 22 03:00:00");
    assert_eq!(next("0 3 * * 1-5"), "Mon 23 03:00:00");
    assert_eq!(next("0 15 * * 1-7"), "Sat 21 15:00:00");
    assert_eq!(next("0 3 * * Fri-Sun"), "Sun 22 03:00:00");
    assert_eq!(next("0 3 1 jan *"), "Fri 01 03:00:00");
    assert_eq!(next("0 10-14/2,20 * * *"), "Sat 21 20:00:00");
    assert_eq!(next("50/5 14 * * *"), "Sat 21 14:50:00");
    assert_eq!(next("@hourly"), "Sat 21 15:00:00");
    assert_eq!(next("@weekly"), "Sun 22 00:00:00");
    assert_eq!(next("*/10 * * * * *"), "Sat 21 14:31:10");
    assert_eq!(next("0 0 29 2 *"), "Tue 29 00:00:00");
}

#[test]
fn of_two_restricted_days_either_is_enough() {
    assert_eq!(next("0 0 13 * 1"), "Mon 23 00:00:00");
    assert_eq!(next("0 0 22 * 1"), "Sun 22 00:00:00");
    // One with a star is not restricted, whatever its step: then both must hold.
    assert_eq!(next("0 0 */2 * 1"), "Mon 23 00:00:00");
    assert_eq!(next("0 0 1-31/1 * 6"), "Sun 22 00:00:00");
}

#[test]
fn goes_by_the_clocks_of_its_zone() {
    let berlin = |expression, now| after(expression, "Europe/Berlin", now);
    let before = "2026-11-21T14:31:00Z";
    assert_eq!(berlin("0 3 * * *", before), "Sun 22 02:00:00");
    assert_eq!(
        berlin("0 3 * * *", "2026-07-01T00:59:59Z"),
        "Wed 01 01:00:00"
    );
}

#[test]
fn a_skipped_time_is_due_at_the_change_and_a_repeated_one_once() {
    let berlin = |expression, now| after(expression, "Europe/Berlin", now);
    // On March 29, 2026 at 01:00 UTC the clocks went from 2 to 3; on October 25 at 01:00 UTC from 3 to 2.
    let spring = "2026-03-29T00:30:00Z";
    assert_eq!(berlin("30 2 * * *", spring), "Sun 29 01:00:00");
    assert_eq!(
        berlin("30 2 * * *", "2026-03-29T01:00:00Z"),
        "Mon 30 00:30:00"
    );
    assert_eq!(berlin("15 * * * *", spring), "Sun 29 01:15:00");
    let autumn = "2026-10-25T00:10:00Z";
    assert_eq!(berlin("30 2 * * *", autumn), "Sun 25 00:30:00");
    assert_eq!(
        berlin("30 2 * * *", "2026-10-25T00:30:00Z"),
        "Mon 26 01:30:00"
    );
    assert_eq!(
        berlin("30 * * * *", "2026-10-25T00:30:00Z"),
        "Sun 25 01:30:00"
    );
    assert_eq!(
        berlin("30 * * * *", "2026-10-25T01:30:00Z"),
        "Sun 25 02:30:00"
    );
}

#[test]
fn no_moment_is_left_out_over_a_year() {
    let schedule: Schedule = "0 * * * *".parse().unwrap();
    let schedule = schedule.in_zone("America/New_York".parse().unwrap());
    let mut now: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    for _ in 0..365 * 24 {
        let next = schedule.next_after(now).unwrap();
        assert_eq!(next - now, TimeDelta::hours(1), "after {now}");
        now = next;
    }
}

#[test]
fn refuses_what_is_no_schedule() {
    let wrong = [
        "",
        "often",
        "* * * *",
        "61 * * * *",
        "0 3 * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "@often",
        "0 0 30 2 *",
        "0 0 * foo *",
        "0 0 0 * *",
    ];
    for wrong in wrong {
        assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
    }
}
