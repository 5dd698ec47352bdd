//! The directory that outlives the process, where there is one.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::AgentError;
use crate::base::clean;

/// The file that a running agent holds locked in its state directory.
const LOCK: &str = "lock";

/// Where snapshots and segments are spooled.
pub(crate) enum StateDir {
    /// Ours, removed at the end.
    Temporary(TempDir),
    /// The operator's, locked.
    Given { directory: PathBuf, _lock: File },
}

impl StateDir {
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, AgentError> {
        let Some(directory) = directory else {
            let made = tempfile::Builder::new().prefix("revkeep-agent-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(AgentError::io("make a temporary directory"));
        };
        make_private(directory).map_err(AgentError::io(format!("make {}", directory.display())))?;
        let lock = lock(directory)?;
        clean(directory)?;
        Ok(Self::Given {
            directory: directory.to_path_buf(),
            _lock: lock,
        })
    }

    /// Whether the next start finds what is in it.
    pub(crate) const fn stays(&self) -> bool {
        matches!(self, Self::Given { .. })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Given { directory, .. } => directory,
        }
    }
}

/// Makes a directory and those above it where there are none, for this user alone: what lies in it are the source's keys
/// and values, secrets among them.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Makes a file for this user alone, empty if it is there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Makes sure that nobody else cleans this directory, or has it cleaned. The lock goes with the file, however we end.
fn lock(directory: &Path) -> Result<File, AgentError> {
    let path = directory.join(LOCK);
    let file = create_private(&path).map_err(AgentError::io(format!("make {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(AgentError::Config(format!(
                "--state-dir: another agent uses {}: give each its own",
                directory.display()
            )));
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, "the file system of --state-dir has no locks: no other agent may use it");
        }
    }
    Ok(file)
}
