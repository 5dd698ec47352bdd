//! The names that a vault is built of. Each is checked once, when it is made, so that nothing else has to.

use std::fmt;
use std::str::FromStr;

use crate::FormatError;

/// The id of a vault: 16 random bytes, made once with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VaultId(pub [u8; 16]);

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultId({self})")
    }
}

/// The name of a cluster in a vault: 1 to 100 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName(String);

impl ClusterName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] for one that no vault can hold.
    pub fn new(name: impl Into<String>) -> Result<Self, FormatError> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty()
            || name.len() > 100
            || name.starts_with('.')
            || !name.chars().all(allowed)
        {
            return Err(FormatError::misuse(
                format!("cluster name {name:?}"),
                "it must have 1 to 100 of a-z A-Z 0-9 . _ - and not begin with a dot",
            ));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        Self::new(name)
    }
}

/// The name of a pin in a cluster; the same letters as in a [`ClusterName`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinName(String);

impl PinName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] for one that no vault can hold.
    pub fn new(name: impl Into<String>) -> Result<Self, FormatError> {
        let name = name.into();
        ClusterName::new(name.as_str()).map_err(|_| {
            FormatError::misuse(
                format!("pin name {name:?}"),
                "it must have 1 to 100 of a-z A-Z 0-9 . _ - and not begin with a dot",
            )
        })?;
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PinName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a timeline within its cluster, from 1; written `0001`, `0002`, …
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct TimelineId(pub u32);

impl TimelineId {
    /// The first timeline of a cluster.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl FromStr for TimelineId {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        name.parse()
            .ok()
            .map(Self)
            .filter(|id| id.0 > 0 && id.to_string() == name)
            .ok_or_else(|| {
                FormatError::misuse(
                    format!("timeline {name:?}"),
                    "it must be a number written with at least four digits, such as 0001",
                )
            })
    }
}

/// The random suffix that makes the name of an object unique: 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub u64);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Uid {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        u64::from_str_radix(name, 16)
            .ok()
            .map(Self)
            .filter(|uid| uid.to_string() == name)
            .ok_or_else(|| {
                FormatError::misuse(
                    format!("suffix {name:?}"),
                    "it must have 16 lower-case hexadecimal digits",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for name in ["", ".", "..", ".x", "a/b", "a b", "ä", &"x".repeat(101)] {
            assert!(ClusterName::new(name).is_err(), "{name}");
        }
        assert!(ClusterName::new("prod-eu.1_A").is_ok());
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!("0001".parse::<TimelineId>().unwrap(), TimelineId::FIRST);
        assert_eq!("12345".parse::<TimelineId>().unwrap(), TimelineId(12345));
        for name in ["1", "0000", "+001", "00001", "x"] {
            assert!(name.parse::<TimelineId>().is_err(), "{name}");
        }
        assert_eq!("00000000000000ff".parse::<Uid>().unwrap(), Uid(255));
        for name in ["ff", "00000000000000FF", "+0000000000000ff"] {
            assert!(name.parse::<Uid>().is_err(), "{name}");
        }
    }
}
