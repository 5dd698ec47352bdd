//! How long what is kept is locked, and how strictly.

use std::fmt;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::Deserialize;

/// Who may still remove a locked version. The later is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Who has the right to bypass it.
    Governance,
    /// Nobody, before the date.
    Compliance,
}

impl LockMode {
    /// The word that S3 has for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        })
    }
}

/// What a policy says of the dates of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The mode of a date that is set.
    pub mode: LockMode,
    /// How far from now a date that is set lies. It is renewed when less than half of this is left.
    pub length: TimeDelta,
}

impl Lock {
    /// The date that an object gets now, in whole seconds, which is what stores keep.
    #[must_use]
    pub fn until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let until = now + self.length;
        let whole = until.trunc_subsecs(0);
        if whole < until {
            whole + TimeDelta::seconds(1)
        } else {
            whole
        }
    }

    /// Whether enough is left of a date.
    #[must_use]
    pub fn is_long(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        until - now >= self.length / 2
    }
}

/// The date of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How strict it is.
    pub mode: LockMode,
    /// Until when the object's version cannot be removed.
    pub until: DateTime<Utc>,
}
