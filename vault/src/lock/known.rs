//! Dates that this process has seen, so that it need not ask for them at every run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_128;

use super::kept::Kept;
use super::rule::Retention;

/// More than these are not remembered: about 60 MB.
const MOST: usize = 1 << 20;

/// What is known of dates. An object that was put again is another one: the time at which the store took it counts.
#[derive(Debug, Default)]
pub(crate) struct KnownDates(Mutex<HashMap<u128, Retention>>);

impl KnownDates {
    /// The date that was seen last.
    pub(crate) fn get(&self, object: &Kept) -> Option<Retention> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(object)).copied()
    }

    /// Remembers a date that was read or set.
    pub(crate) fn remember(&self, object: &Kept, retention: Retention) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Most of a full table may be of what is long gone; what is not is asked once more.
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key(object), retention);
    }
}

fn key(object: &Kept) -> u128 {
    let stored = object.stored.timestamp_millis();
    xxh3_128(format!("{stored} {}", object.name).as_bytes())
}
