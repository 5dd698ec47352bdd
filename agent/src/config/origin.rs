//! Where a setting came from.

use std::collections::BTreeMap;
use std::fmt;

/// The source of one setting. The order is that of precedence: the first wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The command line.
    Flag,
    /// A `REVKEEP_*` variable.
    Variable(String),
    /// A variable of etcdctl's.
    Etcdctl(String),
    /// A line of the configuration file.
    File(String),
    /// Nobody said otherwise.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(place) | Self::Etcdctl(place) | Self::File(place) => f.write_str(place),
            Self::Default => f.write_str("default"),
        }
    }
}

/// By setting.
pub type Origins = BTreeMap<&'static str, Origin>;
