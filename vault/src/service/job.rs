//! What there is to do.

use std::fmt;

/// One kind of work that is done on a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Brings the catalog up to date.
    CatalogSync,
    /// Marks and deletes what the policy lets go.
    Retention,
}

impl Job {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CatalogSync, Self::Retention];

    /// Its name in claims, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CatalogSync => "catalog-sync",
            Self::Retention => "retention",
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
