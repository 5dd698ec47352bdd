//! The one error of this crate.

use std::error::Error;
use std::fmt;

use revkeep_schemas::FormatError;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Try again later: the store or the network failed.
    Retry,
    /// An object is damaged or is not the one that was asked for.
    Corrupt,
    /// Mend the configuration: address, credentials, permissions.
    Config,
    /// It is not there.
    NotFound,
    /// Revisions are missing.
    Gap,
    /// It would break a promise.
    Refused,
    /// A fault of this program or of its caller.
    Internal,
}

impl ErrorKind {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Retry => 2,
            Self::Config => 3,
            Self::NotFound => 10,
            Self::Corrupt => 13,
            Self::Gap => 15,
            Self::Refused => 16,
        }
    }
}

/// Why the vault could not do what was asked.
#[derive(Debug)]
pub struct VaultError {
    kind: ErrorKind,
    message: String,
    object: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl VaultError {
    /// An error without a cause beneath it. The message says what failed, on which object, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            object: None,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names the object that it is about.
    #[must_use]
    pub(crate) fn of_object(mut self, name: impl Into<String>) -> Self {
        self.object = Some(name.into());
        self
    }

    /// The object that it is about, below the vault's prefix, where it is about the content or the absence of one.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The same error, which says what it is about first.
    #[must_use]
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether the store does not accept the credentials, whatever was asked.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        let store = self.source.as_deref();
        let store = store.and_then(|source| source.downcast_ref::<object_store::Error>());
        matches!(store, Some(object_store::Error::Unauthenticated { .. }))
    }

    /// Whether the bytes of an object are what is wrong, and not the store or this program.
    pub(crate) fn is_damage(&self) -> bool {
        let decoded = match &self.source {
            Some(source) => source.is::<FormatError>(),
            None => false,
        };
        self.kind == ErrorKind::Corrupt || self.kind == ErrorKind::Config && decoded
    }

    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Names the object whose bytes a decoder refused; made for `map_err`.
    pub(crate) fn format(what: impl fmt::Display) -> impl FnOnce(FormatError) -> Self {
        move |error| {
            let (kind, advice) = match error {
                FormatError::Corrupt { .. } => (
                    ErrorKind::Corrupt,
                    "the object is damaged; restore it from a copy, or use another recovery point",
                ),
                FormatError::Unsupported { .. } => (ErrorKind::Config, "use a newer Revkeep"),
                FormatError::Io { .. } => (ErrorKind::Retry, "try again"),
                _ => (ErrorKind::Internal, "report this"),
            };
            let what = what.to_string();
            Self::new(kind, format!("{what}: {advice}"))
                .with_source(error)
                .of_object(what)
        }
    }

    /// Names the operation and object of an error of the store; made for `map_err`.
    pub(crate) fn store(what: impl fmt::Display) -> impl FnOnce(object_store::Error) -> Self {
        use object_store::Error as E;
        move |error| {
            let (kind, advice) = match error {
                E::NotFound { .. } => (ErrorKind::NotFound, "it is not in the store"),
                E::PermissionDenied { .. } => (
                    ErrorKind::Config,
                    "the store denies it; mend the permissions",
                ),
                E::Unauthenticated { .. } => (
                    ErrorKind::Config,
                    "the store does not accept the credentials",
                ),
                E::InvalidPath { .. }
                | E::NotSupported { .. }
                | E::NotImplemented { .. }
                | E::UnknownConfigurationKey { .. } => {
                    (ErrorKind::Config, "the store cannot do this")
                }
                _ => (ErrorKind::Retry, "the store failed; try again"),
            };
            Self::new(kind, format!("{what}: {advice}")).with_source(error)
        }
    }

    /// A task that was cancelled or panicked; made for `map_err`.
    pub(crate) fn task(what: &'static str) -> impl FnOnce(tokio::task::JoinError) -> Self {
        move |error| {
            Self::new(
                ErrorKind::Internal,
                format!("{what}: its task did not finish"),
            )
            .with_source(error)
        }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl Error for VaultError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
