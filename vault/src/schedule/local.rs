//! From local times to moments, over changes of the clocks.

use chrono::{
    DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;

use super::{LARGEST_SHIFT, Schedule};

/// The first moment after `now` that is on the schedule.
pub(super) fn next_after(schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone = schedule.zone;
    let local = |moment: DateTime<Utc>| moment.with_timezone(&zone).naive_local();
    let here = local(now);
    if let Some(next) = schedule.times(here).find(|time| *time > here)
        && let MappedLocalTime::Single(next) = zone.from_local_datetime(&next)
    {
        let next = next.with_timezone(&Utc);
        if steady(zone, now - LARGEST_SHIFT, next + LARGEST_SHIFT) {
            return Some(next);
        }
    }
    // The clocks change nearby: local times are not in the order of the moments that they name.
    let mut best: Option<DateTime<Utc>> = None;
    for time in schedule.times(here - LARGEST_SHIFT) {
        if best.is_some_and(|best| time > local(best) + LARGEST_SHIFT) {
            break;
        }
        let moments = moments(schedule, time);
        let later = moments.into_iter().flatten().filter(|one| *one > now);
        best = later.chain(best).min();
    }
    best
}

/// Whether the clocks do not change between the two; they never do twice within a day.
fn steady(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
    let offset = |moment: DateTime<Utc>| zone.offset_from_utc_datetime(&moment.naive_utc()).fix();
    // A whole year apart the offsets are the same again.
    to - from < TimeDelta::days(1) && offset(from) == offset(to)
}

/// The moments at which a local time is due.
fn moments(schedule: &Schedule, time: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
    let zone = schedule.zone;
    let utc = |moment: DateTime<Tz>| Some(moment.with_timezone(&Utc));
    match zone.from_local_datetime(&time) {
        MappedLocalTime::Single(moment) => [utc(moment), None],
        MappedLocalTime::Ambiguous(first, second) if schedule.hourly => [utc(first), utc(second)],
        MappedLocalTime::Ambiguous(first, _) => [utc(first), None],
        MappedLocalTime::None if schedule.hourly => [None, None],
        MappedLocalTime::None => [after_the_gap(zone, time), None],
    }
}

/// The moment at which the clocks were moved over a local time: the first that exists after it.
fn after_the_gap(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    let mut time = time;
    let until = time + LARGEST_SHIFT;
    // Clocks are moved at whole minutes.
    let step = TimeDelta::minutes(1);
    time -= TimeDelta::seconds(time.and_utc().timestamp().rem_euclid(60));
    while time <= until {
        if let Some(moment) = zone.from_local_datetime(&time).earliest() {
            return Some(moment.with_timezone(&Utc));
        }
        time += step;
    }
    None
}
