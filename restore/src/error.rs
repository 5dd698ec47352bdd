//! The one error of this crate: a kind that says what the caller must do, and a message for people.

use std::error::Error as StdError;
use std::{fmt, io};

use revkeep_schemas::{FormatError, Revision};

/// What a failure means for the caller; each kind has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Something else went wrong: read the message.
    Failed,
    /// The vault could not be reached: try again.
    Unreachable,
    /// What was asked for makes no sense: change the request.
    Invalid,
    /// A signal ended it; nothing was left at the target.
    Interrupted,
    /// No such vault, cluster or timeline.
    NotFound,
    /// The vault does not reach the target: take one of the nearest recovery points.
    OutsideCoverage,
    /// What was read or built is not what the source or the manifests said. Nothing was left at the target.
    Verification,
    /// The target lies in a range that was never captured.
    Gap,
    /// Acting would destroy something, for example a target that is not empty.
    Refused,
    /// Two revisions differ, and that was asked to be told by the exit code. No failure.
    Different,
    /// A cluster has a problem, as `status` says. No failure of the command.
    Unhealthy,
}

impl Kind {
    /// The process exit code of this kind.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Unreachable => 2,
            Self::Invalid => 3,
            Self::Interrupted => 5,
            Self::NotFound => 10,
            Self::OutsideCoverage => 11,
            Self::Verification => 13,
            Self::Different => 14,
            Self::Gap => 15,
            Self::Refused => 16,
            Self::Unhealthy => 17,
        }
    }
}

/// The recovery points on both sides of a target that cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Nearest {
    /// The newest recovery point below the target.
    pub below: Option<Revision>,
    /// The oldest recovery point above the target.
    pub above: Option<Revision>,
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.below, self.above) {
            (Some(below), Some(above)) => {
                write!(f, "the nearest recovery points are {below} and {above}")
            }
            (Some(only), None) | (None, Some(only)) => {
                write!(f, "the nearest recovery point is {only}")
            }
            (None, None) => write!(f, "there is no recovery point yet"),
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct RestoreError {
    kind: Kind,
    message: String,
    nearest: Option<Nearest>,
    lost_object: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl RestoreError {
    /// A failure of one kind with a message that says what, where, and what to do.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            nearest: None,
            lost_object: None,
            source: None,
        }
    }

    /// The same failure with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure with the recovery points around the target; the message gains them too.
    #[must_use]
    pub fn near(mut self, nearest: Nearest) -> Self {
        self.message = format!("{}; {nearest}", self.message);
        self.nearest = Some(nearest);
        self
    }

    /// The same failure with recovery points that its message names already.
    #[must_use]
    pub const fn with_nearest(mut self, nearest: Option<Nearest>) -> Self {
        self.nearest = nearest;
        self
    }

    /// The same failure, of an object that is damaged or gone while others may have the same content.
    #[must_use]
    pub fn of_lost_object(mut self, name: &str) -> Self {
        self.lost_object = Some(name.to_owned());
        self
    }

    /// An I/O failure on a file or directory; made for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::new(Kind::Failed, what).because(source)
    }

    /// What the caller must do.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The object that is damaged or gone while others may have the same content.
    #[must_use]
    pub fn lost_object(&self) -> Option<&str> {
        self.lost_object.as_deref()
    }

    /// The recovery points around a target that cannot be reached.
    #[must_use]
    pub const fn nearest(&self) -> Option<Nearest> {
        self.nearest
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl StdError for RestoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The message carries the direct cause already, so the chain goes on below it.
        self.source.as_ref().and_then(|source| source.source())
    }
}

impl From<FormatError> for RestoreError {
    fn from(error: FormatError) -> Self {
        let kind = match error {
            FormatError::Corrupt { .. } => Kind::Verification,
            _ => Kind::Failed,
        };
        let advice = match &error {
            FormatError::Io { source, .. } if is_full(source) => {
                "; nothing was left at the target: free space there, or give a target on another disk"
            }
            _ => "",
        };
        Self::new(kind, format!("{error}{advice}"))
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
