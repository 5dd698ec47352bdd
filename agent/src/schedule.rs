//! When the next base is due: cron expressions in UTC.

use std::str::FromStr;

use chrono::{DateTime, Utc};

/// A cron schedule, in UTC.
#[derive(Clone, Debug)]
pub struct Schedule(cron::Schedule);

impl Schedule {
    /// The first moment after `now` at which a base is due, if there is one.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.after(&now).next()
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// Reads five fields (minute, hour, day, month, weekday), six with seconds first, or a word such as `@hourly`.
    /// A weekday as a number is cron's: 0 and 7 are Sunday.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let expression = match fields.as_slice() {
            [minute, hour, day, month, weekday] => {
                format!("0 {minute} {hour} {day} {month} {}", weekdays(weekday)?)
            }
            _ => text.to_owned(),
        };
        cron::Schedule::from_str(&expression)
            .map(Self)
            .map_err(|error| format!("{error}; an example: '*/30 * * * *' is every half hour"))
    }
}

/// Rewrites the numbers of a weekday field, 0 or 7 for Sunday, to the names that the parser shares with cron: its own
/// numbers start at 1 for Sunday.
fn weekdays(field: &str) -> Result<String, String> {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let name = |part: &str| -> Result<String, String> {
        match part.parse::<usize>() {
            Ok(number) => NAMES
                .get(number)
                .map(|name| (*name).to_owned())
                .ok_or_else(|| format!("{number} is no weekday: use 0 (Sunday) to 7 (Sunday)")),
            Err(_) => Ok(part.to_owned()),
        }
    };
    let item = |item: &str| -> Result<String, String> {
        let (days, step) = match item.split_once('/') {
            Some((days, step)) => (days, format!("/{step}")),
            None => (item, String::new()),
        };
        let days: Result<Vec<_>, _> = days.split('-').map(name).collect();
        Ok(days?.join("-") + &step)
    };
    let items: Result<Vec<_>, _> = field.split(',').map(item).collect();
    Ok(items?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str) -> String {
        let schedule: Schedule = expression.parse().unwrap();
        let now = "2026-11-21T14:31:00Z".parse().unwrap(); // A Saturday.
        let next = schedule.next_after(now).unwrap();
        next.format("%a %d %H:%M:%S").to_string()
    }

    #[test]
    fn reads_what_operators_write() {
        assert_eq!(next("*/30 * * * *"), "Sat 21 15:00:00");
        assert_eq!(next("5 3 * * *"), "Sun 22 03:05:00");
        assert_eq!(next("0 3 * * 1"), "Mon 23 03:00:00");
        assert_eq!(next("0 3 * * 0"), "Sun 22 03:00:00");
        assert_eq!(next("0 3 * * 7"), "Sun 22 03:00:00");
        assert_eq!(next("0 3 * * 1-5"), "Mon 23 03:00:00");
        assert_eq!(next("@hourly"), "Sat 21 15:00:00");
        assert_eq!(next("*/10 * * * * *"), "Sat 21 14:31:10");
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        for wrong in ["", "often", "* * * *", "61 * * * *", "0 3 * * 8"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }
}
