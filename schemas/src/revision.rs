//! etcd's revision number.

use std::fmt;

/// etcd's `main` number: the revision of one write transaction. A fresh store stands at 1, the first change takes 2,
/// and the sequence has no holes. etcd keeps it as a signed 64-bit integer, so this does too.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl Revision {
    /// No revision: below the first one that etcd ever uses.
    pub const ZERO: Self = Self(0);
    /// The revision of a store in which nothing was ever written.
    pub const INITIAL: Self = Self(1);
    /// Above every revision.
    pub const MAX: Self = Self(i64::MAX);

    /// The revision that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The revision before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<i64> for Revision {
    fn from(number: i64) -> Self {
        Self(number)
    }
}
