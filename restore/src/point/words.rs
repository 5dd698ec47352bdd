//! Times as people write them.
//!
//! | written | means |
//! |---|---|
//! | `2026-11-21T14:00:00Z`, `2026-11-21T14:00:00+01:00` | RFC 3339 |
//! | `2026-11-21 14:00`, `2026-11-21T14:00:05`, `2026-11-21` | local time; a day alone is its midnight |
//! | `14:00`, `today 14:00`, `yesterday 14:00`, `yesterday` | local time of that day |
//! | `20m ago`, `1h 30m ago`, `2 days ago` | before now |
//! | `now` | now |

use std::time::Duration;

use chrono::{
    DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone,
};

use crate::error::{Kind, RestoreError};

/// A moment that somebody named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub unix_ms: i64,
}

/// Reads a time, by the clock and in the time zone of `now`.
///
/// # Errors
/// [`Kind::Invalid`] for what is no time, for one that the time zone skips, and for one in the future.
pub fn moment<Z: TimeZone>(words: &str, now: &DateTime<Z>) -> Result<Moment, RestoreError> {
    let words = words.trim();
    let found = match words.strip_suffix("ago") {
        Some(before) => ago(before.trim(), now),
        None => named(words, now),
    };
    let Some(found) = found else {
        return Err(RestoreError::new(
            Kind::Invalid,
            format!(
                "{words:?} is no time. Try: \"20m ago\", \"yesterday 14:00\", \"today 03:00\", \"2026-11-21 14:00\" (local time), or \
                 2026-11-21T14:00:00Z"
            ),
        ));
    };
    if found.unix_ms > now.timestamp_millis() {
        return Err(RestoreError::new(
            Kind::Invalid,
            format!("the time {words:?} is still to come. Try: --latest"),
        ));
    }
    Ok(found)
}

/// Reads a length of time, such as `20m`, `1h 30m` or `2 days`.
///
/// # Errors
/// [`Kind::Invalid`] for what is none.
pub fn duration(words: &str) -> Result<Duration, RestoreError> {
    humantime::parse_duration(words).map_err(|error| {
        let advice = format!("{words:?} is no length of time. Try: 20m, 1h 30m, 7d");
        RestoreError::new(Kind::Invalid, advice).because(error)
    })
}

fn ago<Z: TimeZone>(words: &str, now: &DateTime<Z>) -> Option<Moment> {
    let before = TimeDelta::from_std(humantime::parse_duration(words).ok()?).ok()?;
    let unix_ms = now
        .timestamp_millis()
        .checked_sub(before.num_milliseconds())?;
    Some(Moment { unix_ms })
}

fn named<Z: TimeZone>(words: &str, now: &DateTime<Z>) -> Option<Moment> {
    if words == "now" {
        return Some(at(now));
    }
    if let Ok(exact) = DateTime::parse_from_rfc3339(words) {
        return Some(at(&exact));
    }
    let (day, time) = match words.split_once([' ', 'T']) {
        Some((day, time)) => (day, Some(clock(time.trim())?)),
        None => (words, None),
    };
    let today = now.date_naive();
    let local = match (day, time) {
        ("today", time) => today.and_time(time.unwrap_or_default()),
        ("yesterday", time) => today
            .checked_sub_days(Days::new(1))?
            .and_time(time.unwrap_or_default()),
        (day, None) if day.contains(':') => today.and_time(clock(day)?),
        (day, time) => {
            let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
            day.and_time(time.unwrap_or_default())
        }
    };
    resolve_local(local, now)
}

fn clock(words: &str) -> Option<NaiveTime> {
    let formats = ["%H:%M:%S%.f", "%H:%M"];
    formats
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(words, format).ok())
}

/// A local time that a change of clocks repeats is the earlier one: nothing after it may be restored by mistake.
fn resolve_local<Z: TimeZone>(local: NaiveDateTime, now: &DateTime<Z>) -> Option<Moment> {
    match now.timezone().from_local_datetime(&local) {
        LocalResult::Single(time) => Some(at(&time)),
        LocalResult::Ambiguous(earlier, later) => {
            Some(if at(&earlier).unix_ms <= at(&later).unix_ms {
                at(&earlier)
            } else {
                at(&later)
            })
        }
        LocalResult::None => None,
    }
}

fn at<Z: TimeZone>(time: &DateTime<Z>) -> Moment {
    Moment {
        unix_ms: time.timestamp_millis(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, Utc};

    use super::*;

    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-21T15:30:00+02:00").unwrap()
    }

    fn read(words: &str) -> Option<String> {
        let moment = moment(words, &now()).ok()?;
        let time = Utc.timestamp_millis_opt(moment.unix_ms).single().unwrap();
        Some(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (words, expected) in [
            ("now", "2026-11-21T13:30:00Z"),
            ("20m ago", "2026-11-21T13:10:00Z"),
            (" 1h 30m  ago ", "2026-11-21T12:00:00Z"),
            ("2 days ago", "2026-11-19T13:30:00Z"),
            ("today", "2026-11-20T22:00:00Z"),
            ("today 03:00", "2026-11-21T01:00:00Z"),
            ("03:00:05", "2026-11-21T01:00:05Z"),
            ("yesterday 14:00", "2026-11-20T12:00:00Z"),
            ("2026-11-20 14:00", "2026-11-20T12:00:00Z"),
            ("2026-11-20T14:00:00.250", "2026-11-20T12:00:00.250Z"),
            ("2026-11-20", "2026-11-19T22:00:00Z"),
            ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
            ("2026-11-20T14:00:00-05:00", "2026-11-20T19:00:00Z"),
        ] {
            assert_eq!(read(words).as_deref(), Some(expected), "{words}");
        }
    }

    #[test]
    fn what_is_no_time_and_what_is_still_to_come_is_refused() {
        for words in [
            "",
            "ago",
            "soon",
            "25:00",
            "today 25:00",
            "2026-13-01",
            "tomorrow",
            "16:00",
            "20m",
            "-20m ago",
            "2026-11-21T15:30:00Z",
            "99999999999999y ago",
        ] {
            let refused = moment(words, &now()).map_err(|error| error.kind());
            assert_eq!(refused, Err(Kind::Invalid), "{words}");
        }
    }
}
