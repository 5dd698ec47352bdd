//! One field of a cron expression, as a set of numbers.

use std::fmt;

/// What a field may hold.
pub(super) struct Range {
    pub(super) name: &'static str,
    pub(super) first: u32,
    pub(super) last: u32,
    /// Names for the numbers from `first` on.
    pub(super) names: &'static [&'static str],
}

pub(super) const SECOND: Range = plain("second", 0, 59);
pub(super) const MINUTE: Range = plain("minute", 0, 59);
pub(super) const HOUR: Range = plain("hour", 0, 23);
pub(super) const DAY: Range = plain("day of the month", 1, 31);
pub(super) const MONTH: Range = Range {
    name: "month",
    first: 1,
    last: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// 0 and 7 are Sunday.
pub(super) const WEEKDAY: Range = Range {
    name: "weekday",
    first: 0,
    last: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

const fn plain(name: &'static str, first: u32, last: u32) -> Range {
    Range {
        name,
        first,
        last,
        names: &[],
    }
}

/// The numbers of one field; none is above 59.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    set: u64,
    /// Whether it is written with a star, which cron takes for "not restricted", whatever its step.
    pub(super) star: bool,
}

impl Field {
    /// Reads `*`, `5`, `1-5`, `*/10`, `1-30/2`, `5/10` (from 5 on), names where there are any, and lists of these.
    pub(super) fn read(text: &str, range: &Range) -> Result<Self, String> {
        let mut set = 0;
        for item in text.split(',') {
            set |= item_set(item, range)
                .ok_or_else(|| format!("{item:?} is no {}: {}", range.name, allowed(range)))?;
        }
        Ok(Self {
            set,
            star: text.starts_with(['*', '?']),
        })
    }

    /// Zero alone: the seconds of an expression without them.
    pub(super) const ZERO: Self = Self {
        set: 1,
        star: false,
    };

    const fn has(self, number: u32) -> bool {
        number < 64 && self.set >> number & 1 == 1
    }

    /// The numbers, in order.
    fn numbers(self) -> impl Iterator<Item = u32> {
        (0..60).filter(move |number| self.has(*number))
    }

    /// Weekdays as the crate `cron` writes them: 1 is Sunday, which here is 0 and 7.
    pub(super) fn weekdays(self) -> String {
        let of_cron = (1..=7).filter(|day| self.has(day - 1) || *day == 1 && self.has(7));
        of_cron
            .map(|day| day.to_string())
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, number) in self.numbers().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{number}")?;
        }
        Ok(())
    }
}

fn allowed(range: &Range) -> String {
    let (first, last) = (range.first, range.last);
    match range.names {
        [from, .., to] => format!("use {first} to {last}, or {from} to {to}"),
        _ => format!("use {first} to {last}"),
    }
}

fn item_set(item: &str, range: &Range) -> Option<u64> {
    let (span, step) = match item.split_once('/') {
        Some((span, step)) => (span, step.parse().ok().filter(|step| *step > 0)?),
        None => (item, 1),
    };
    let stepped = item.contains('/');
    let (first, last) = match span.split_once('-') {
        _ if span == "*" || span == "?" => (range.first, range.last),
        Some((first, last)) => (number(first, range)?, end(last, range)?),
        None if stepped => (number(span, range)?, range.last),
        None => (number(span, range)?, number(span, range)?),
    };
    if first > last {
        return None;
    }
    let numbers = (first..=last).step_by(step);
    Some(numbers.fold(0, |set, number| set | 1 << number))
}

/// The end of a range: `fri-sun` ends with the Sunday that follows.
fn end(text: &str, range: &Range) -> Option<u32> {
    let number = number(text, range)?;
    let is_name = text.parse::<u32>().is_err();
    Some(if is_name && range.first == 0 && number == 0 {
        range.last
    } else {
        number
    })
}

fn number(text: &str, range: &Range) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return (range.first..=range.last)
            .contains(&number)
            .then_some(number);
    }
    let text = text.to_ascii_lowercase();
    let place = range.names.iter().position(|name| *name == text)?;
    Some(range.first + u32::try_from(place).ok()?)
}
