//! The one error of this crate.

use std::io;

/// Why bytes could not be read or written as the format asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are not what the format says: damaged, cut short, or another kind of file.
    #[error("{what}: at offset {offset}: expected {expected}, found {found}")]
    Corrupt {
        /// The file, object or message, as far as the reader knows its name.
        what: String,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What the format has there.
        expected: String,
        /// What stood there instead.
        found: String,
    },
    /// The bytes are sound and written by something newer, or ask for something that is not supported.
    #[error("{what}: {reason}")]
    Unsupported {
        /// The file, object or message.
        what: String,
        /// What is not supported, and what to do.
        reason: String,
    },
    /// The caller broke a precondition, for example rows out of order.
    #[error("{what}: {reason}")]
    Misuse {
        /// The operation.
        what: String,
        /// The broken precondition.
        reason: String,
    },
    /// The disk or stream beneath failed.
    #[error("{what}: {source}")]
    Io {
        /// The file and the operation.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

impl FormatError {
    /// A [`FormatError::Corrupt`].
    pub fn corrupt(
        what: impl Into<String>,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corrupt {
            what: what.into(),
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// A [`FormatError::Unsupported`].
    pub fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            what: what.into(),
            reason: reason.into(),
        }
    }

    /// A [`FormatError::Misuse`].
    pub fn misuse(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Misuse {
            what: what.into(),
            reason: reason.into(),
        }
    }

    /// Names the file and operation of an I/O error; made for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
