//! Periods of the calendar.

use std::fmt;

use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc};

use super::rules::SLOT;

/// What bases are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// Ten minutes, wherever they fall.
    Slot,
    /// An hour of the clock.
    Hour,
    /// A day of the calendar.
    Day,
    /// A week from Monday.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
    /// Two to this power of hours, counted from 1970 in UTC.
    Doubling(u8),
}

impl Period {
    /// The number of the period that a time falls into. Numbers grow with time, but for the hour that a change of the
    /// clocks repeats, which is one period.
    pub(crate) fn number<Z: TimeZone>(self, time: DateTime<Utc>, zone: &Z) -> i64 {
        let local = time.with_timezone(zone).naive_local();
        let day = i64::from(local.num_days_from_ce());
        match self {
            Self::Slot => time.timestamp().div_euclid(SLOT.num_seconds()),
            Self::Hour => day * 24 + i64::from(local.hour()),
            Self::Day => day,
            // Day 1 of the common era is a Monday.
            Self::Week => (day - 1).div_euclid(7),
            Self::Month => i64::from(local.year()) * 12 + i64::from(local.month0()),
            Self::Year => i64::from(local.year()),
            Self::Doubling(power) => time
                .timestamp()
                .div_euclid(3600)
                .div_euclid(1 << power.min(40)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot => f.write_str("one of the last"),
            Self::Hour => f.write_str("hourly"),
            Self::Day => f.write_str("daily"),
            Self::Week => f.write_str("weekly"),
            Self::Month => f.write_str("monthly"),
            Self::Year => f.write_str("yearly"),
            Self::Doubling(power) => write!(f, "one for each {} hours", 1_u64 << (*power).min(40)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_week_begins_on_monday_and_a_day_in_the_zone() {
        let sunday = at("2026-11-22T23:30:00Z");
        let monday = at("2026-11-23T00:30:00Z");
        assert_ne!(
            Period::Week.number(sunday, &Utc),
            Period::Week.number(monday, &Utc)
        );
        let east = FixedOffset::east_opt(3600).unwrap();
        for period in [Period::Week, Period::Day] {
            assert_eq!(period.number(sunday, &east), period.number(monday, &east));
        }
        let new_year = at("2026-12-31T23:30:00Z");
        assert_eq!(Period::Year.number(new_year, &east), 2027);
        assert_eq!(
            Period::Month.number(new_year, &east),
            Period::Month.number(at("2027-01-15T00:00:00Z"), &east)
        );
    }

    #[test]
    fn numbers_grow_with_time() {
        let mut periods = vec![
            Period::Slot,
            Period::Hour,
            Period::Day,
            Period::Week,
            Period::Month,
            Period::Year,
        ];
        periods.extend((0..16).map(Period::Doubling));
        for period in periods {
            let numbers: Vec<_> = (0..2000)
                .map(|step| at("1969-06-01T00:00:00Z") + chrono::TimeDelta::minutes(step * 1777))
                .map(|time| period.number(time, &Utc))
                .collect();
            assert!(numbers.is_sorted(), "{period:?}");
        }
    }
}
