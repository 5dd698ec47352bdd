//! What there is to do.

use std::fmt;

/// One kind of work that is done on a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Brings the catalog up to date.
    CatalogSync,
    /// Marks and deletes what the policy lets go.
    Retention,
    /// Reads what is due of every cluster, and proves it.
    Verification,
    /// Restores any revision of one cluster, boots a server on it, and compares HashKV.
    Drill,
}

impl Job {
    /// Its name in claims, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CatalogSync => "catalog-sync",
            Self::Retention => "retention",
            Self::Verification => "verification",
            Self::Drill => "drill",
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
