//! Names of WAL files.

use std::{fmt, str::FromStr};

use crate::FormatError;

/// The name of a WAL file: its number in the log, and the index of the first entry it may hold, sixteen hexadecimal
/// digits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalName {
    /// Its number, from 0.
    pub sequence: u64,
    /// The index of its first entry.
    pub first_index: u64,
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.first_index)
    }
}

impl FromStr for WalName {
    type Err = FormatError;

    /// [`FormatError::Corrupt`] when it is no such name.
    fn from_str(name: &str) -> Result<Self, FormatError> {
        let hex = |digits: &str| {
            let sound = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            sound
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        name.strip_suffix(".wal")
            .and_then(|stem| stem.split_once('-'))
            .and_then(|(sequence, first_index)| {
                Some(Self {
                    sequence: hex(sequence)?,
                    first_index: hex(first_index)?,
                })
            })
            .ok_or_else(|| {
                FormatError::corrupt(
                    name,
                    0,
                    "a WAL file's name, two numbers of 16 digits",
                    "another",
                )
            })
    }
}
