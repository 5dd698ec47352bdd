//! Where commands keep what is theirs.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Kind, RestoreError};

/// `named`, or a folder of this name below `revkeep` where the system keeps what should last: `XDG_STATE_HOME`, or
/// `~/.local/state`.
///
/// # Errors
/// [`Kind::Invalid`] where neither is known.
pub(super) fn state_folder(named: Option<PathBuf>, name: &str) -> Result<PathBuf, RestoreError> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    let shared = || variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || {
        let home = variable("HOME").filter(|path| path.is_absolute())?;
        Some(home.join(".local/state"))
    };
    let below = || Some(shared().or_else(home)?.join("revkeep").join(name));
    named.or_else(below).ok_or_else(|| {
        RestoreError::new(
            Kind::Invalid,
            format!("there is neither HOME nor XDG_STATE_HOME. Try: --{name} DIR"),
        )
    })
}

/// Seconds as whole milliseconds.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
