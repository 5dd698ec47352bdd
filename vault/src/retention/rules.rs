//! What is to be kept of one cluster.

use chrono::TimeDelta;

/// Nothing younger than this goes, whatever the rules say: a base that makes use of it may be on its way.
pub const YOUNG: TimeDelta = TimeDelta::hours(1);
/// Bases that were stored in the same slot count as one where a rule counts backups, so that an agent that floods the
/// vault with bases drives out no older one.
pub const SLOT: TimeDelta = TimeDelta::minutes(10);

/// What is to be kept of one cluster. Every rule adds to what is kept, none takes away from another.
///
/// A count of a period is a count of periods in which a base was stored, newest first, in the time zone of the policy;
/// of each, the first base stays. The first, because it is the one that no later base can drive out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Every revision that was stored within this time can be brought back.
    pub window: TimeDelta,
    /// One base for each of so many hours.
    pub hourly: u32,
    /// One base for each of so many days.
    pub daily: u32,
    /// One base for each of so many weeks, from Monday.
    pub weekly: u32,
    /// One base for each of so many months.
    pub monthly: u32,
    /// One base for each of so many years.
    pub yearly: u32,
    /// So many of the newest bases, of each [`SLOT`] one.
    pub keep_last: u32,
    /// So many bases of every doubling of an hour: of 1, 2, 4, 8 … hours.
    pub exponential: u32,
    /// So many of the newest bases of the newest timeline stay when every other rule lets them go.
    pub minimum: u32,
    /// How long what goes stays marked, and can be taken back, before it is deleted.
    pub grace: TimeDelta,
    /// More bytes than this are told. Nothing is deleted for it.
    pub warn_bytes: Option<u64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            window: TimeDelta::days(7),
            hourly: 0,
            daily: 30,
            weekly: 0,
            monthly: 12,
            yearly: 0,
            keep_last: 0,
            exponential: 0,
            minimum: 2,
            grace: TimeDelta::days(1),
            warn_bytes: None,
        }
    }
}
