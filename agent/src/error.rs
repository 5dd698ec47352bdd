//! The one error of this crate: its kind says what the caller can do.

use std::time::Duration;

use revkeep_schemas::{FormatError, Revision};
use revkeep_vault::{ErrorKind, VaultError};

/// Between two tries of what is refused: people do not mend it faster.
const DENIED_WAIT: Duration = Duration::from_secs(15);

/// Why the agent could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A setting is wrong; nothing was tried.
    #[error("{0}")]
    Config(String),
    /// No endpoint answered.
    #[error("cannot reach etcd at {endpoint}: {reason}")]
    Connect {
        /// The endpoint that was tried last.
        endpoint: String,
        /// What the client said.
        reason: String,
    },
    /// The member answered a request with an error, or broke off.
    #[error("etcd at {endpoint}: {operation}: {source}")]
    Source {
        /// The member's endpoint.
        endpoint: String,
        /// What was asked of it.
        operation: &'static str,
        /// What the client said.
        source: Box<etcd_client::Error>,
    },
    /// The member refused a request because of who asked.
    #[error("etcd at {endpoint} refuses {operation} ({reason}): {advice}")]
    Denied {
        /// The member's endpoint.
        endpoint: String,
        /// What was asked of it.
        operation: &'static str,
        /// What it said.
        reason: String,
        /// What to grant, or to mend.
        advice: String,
    },
    /// A message of the watch is larger than may be taken. A base takes its place.
    #[error(
        "a message of the watch is larger than --max-decoding, {limit} bytes: a base takes its place"
    )]
    Oversized {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The source is not what the timeline in the vault was captured from.
    #[error("{0}")]
    Lineage(String),
    /// One member's content is not that of its cluster, or it cannot be told whether it is.
    #[error("{0}")]
    Diverged(String),
    /// The watch does not begin with what was captured last.
    #[error("revision {0} of the source is not what was captured")]
    Unlike(Revision),
    /// What the vault holds is not what was known of it: it is opened again.
    #[error("the vault is opened again")]
    Reopen,
    /// A snapshot that must not be used.
    #[error("the snapshot of {endpoint} is not usable: {reason}")]
    Snapshot {
        /// The member it came from.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The source no longer has the revisions that come next.
    #[error("the source has compacted up to {compact_revision}; revision {wanted} is gone")]
    Compacted {
        /// The next revision that was needed.
        wanted: Revision,
        /// The source's compact revision.
        compact_revision: Revision,
    },
    /// A revision that no segment can hold. A base can.
    #[error(
        "revision {revision} has {bytes} bytes of rows, more than a segment can hold: a base takes its place"
    )]
    TooLarge {
        /// The revision.
        revision: Revision,
        /// The length of its rows in Revkeep's encoding.
        bytes: usize,
    },
    /// The watch lost events.
    #[error(transparent)]
    Fault(#[from] crate::capture::joiner::Fault),
    /// A file was not what it had to be.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The local disk failed.
    #[error("{what}: {source}")]
    Io {
        /// The file and the operation.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A one-shot command was told to stop.
    #[error("interrupted before the base was known to be stored: take it again")]
    Interrupted,
    /// No agent answers there.
    #[error(
        "cannot reach an agent at {url}: {reason}; is it running, and is this its --listen-status?"
    )]
    AgentAway {
        /// The address.
        url: String,
        /// What the client said.
        reason: String,
    },
    /// A running agent did not do what it was asked.
    #[error("the agent at {url}: {reason}")]
    Agent {
        /// Its address.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The source cannot be looked after now.
    #[error("the cluster could not spare a member: {0}")]
    Unwell(String),
    /// A check has failed, and was printed.
    #[error("the check has failed")]
    Checked {
        /// The exit code.
        code: u8,
    },
    /// A task of this process ended in a way that it never should.
    #[error("internal: {0}")]
    Internal(String),
}

impl AgentError {
    /// The exit code that operators' scripts know: 2 cannot connect, 3 invalid input, 5 interrupted, 16 refused, those of
    /// [`revkeep_vault::ErrorKind::exit_code`] for what the vault says, 1 all else.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Connect { .. } | Self::Denied { .. } | Self::AgentAway { .. } => 2,
            Self::Config(_) => 3,
            Self::Checked { code } => *code,
            Self::Interrupted => 5,
            Self::Lineage(_) | Self::Diverged(_) => 16,
            Self::Vault(error) => error.kind().exit_code(),
            _ => 1,
        }
    }

    /// Whether somebody has to grant or mend something before it can work: it is tried again all the same, and seldom.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Denied { .. } => true,
            Self::Vault(error) => error.kind() == ErrorKind::Config,
            _ => false,
        }
    }

    /// The least time before it is worth trying again.
    pub(crate) fn least_wait(&self) -> Duration {
        if self.is_denied() {
            DENIED_WAIT
        } else {
            Duration::ZERO
        }
    }

    /// Names the file and operation of an I/O error; made for `map_err`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
