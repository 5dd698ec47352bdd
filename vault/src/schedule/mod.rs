//! When something is due: cron expressions, in a time zone.
//!
//! The crate `cron` finds the times; what it reads otherwise than cron does is brought into its form first: Sunday is 1
//! for it, and it wants both of two restricted days. Fields are cron's: where both the day of the month and the weekday are restricted, either is enough (crontab(5)). A
//! local time that a change of the clocks skips counts as the moment of the change, and one that comes twice counts once,
//! unless the hour is `*`: then the schedule is one of intervals, and goes on as they do.

mod field;
mod local;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use field::Field;

/// A cron schedule in a time zone, UTC unless another was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    zone: Tz,
    /// Whether every hour is due.
    hourly: bool,
    /// Local times, written as if they were in UTC: what is due by any of these is due.
    parts: Vec<cron::Schedule>,
}

impl Schedule {
    /// The same schedule by the clocks of another time zone.
    #[must_use]
    pub fn in_zone(mut self, zone: Tz) -> Self {
        self.zone = zone;
        self
    }

    /// The first moment after `now` that is on the schedule, if there is one.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        local::next_after(self, now)
    }

    /// The local times from `from` on, in order.
    fn times(&self, from: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        let before = from.and_utc() - TimeDelta::seconds(1);
        let parts = self.parts.iter();
        let mut parts: Vec<_> = parts
            .map(|part| part.after_owned(before).peekable())
            .collect();
        let merged = std::iter::from_fn(move || {
            let next = parts.iter_mut().filter_map(|part| part.peek().copied());
            let next = next.min()?;
            for part in &mut parts {
                part.next_if_eq(&next);
            }
            Some(next.naive_utc())
        });
        merged.skip_while(move |time| *time < from)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// Reads five fields (minute, hour, day, month, weekday), six with seconds first, or a word such as `@hourly`.
    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = expression(text.trim())?.split_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            rest @ [_, _, _, _, _] => (Field::ZERO, rest),
            [second, rest @ ..] if rest.len() == 5 => (Field::read(second, &field::SECOND)?, rest),
            _ => {
                return Err(format!(
                    "{text:?} has {} fields: write minute, hour, day, month, weekday, as in '*/30 * * * *' for every half hour",
                    fields.len()
                ));
            }
        };
        let [minute, hour, day, month, weekday] = rest else {
            return Err(format!("{text:?} has the wrong number of fields"));
        };
        let [hour, day, weekday] = [
            Field::read(hour, &field::HOUR)?,
            Field::read(day, &field::DAY)?,
            Field::read(weekday, &field::WEEKDAY)?,
        ];
        let [second, minute, month] = [
            second,
            Field::read(minute, &field::MINUTE)?,
            Field::read(month, &field::MONTH)?,
        ];
        let part = |days: &str, weekdays: &str| {
            let fields = format!("{second} {minute} {hour} {days} {month} {weekdays}");
            let part = cron::Schedule::from_str(&fields);
            part.map_err(|error| format!("{text:?} is no schedule: {error}"))
        };
        let (days, weekdays) = (day.to_string(), weekday.weekdays());
        let parts = if day.star || weekday.star {
            vec![part(&days, &weekdays)?]
        } else {
            vec![part(&days, "*")?, part("*", &weekdays)?]
        };
        let schedule = Self {
            text: text.trim().to_owned(),
            zone: Tz::UTC,
            hourly: hour.star,
            parts,
        };
        let some_day = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
        if schedule.times(some_day.into()).next().is_none() {
            return Err(format!("{text:?} is on no day of any year"));
        }
        Ok(schedule)
    }
}

impl serde::Serialize for Schedule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Schedule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads the name of a time zone.
///
/// # Errors
/// Says what a name looks like.
pub fn zone(name: &str) -> Result<Tz, String> {
    let read = name.trim().parse();
    read.map_err(|_| format!("{name:?} is no time zone: use a name such as Europe/Berlin or UTC"))
}

/// cron's words.
fn expression(text: &str) -> Result<&str, String> {
    match text {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ if text.starts_with('@') => Err(format!(
            "{text:?} is unknown: use @hourly, @daily, @weekly, @monthly or @yearly"
        )),
        _ => Ok(text),
    }
}

/// How much the clocks of any zone were ever moved at once, and more.
const LARGEST_SHIFT: TimeDelta = TimeDelta::hours(4);

#[cfg(test)]
mod tests;
