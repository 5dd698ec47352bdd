//! Where commands keep what is theirs.

use std::path::PathBuf;

use crate::error::{Kind, RestoreError};

/// `named`, or a folder of this name where programs keep what lasts ([`revkeep_vault::state_folder`]).
///
/// # Errors
/// [`Kind::Invalid`] where no such place is known.
pub(super) fn state_folder(named: Option<PathBuf>, name: &str) -> Result<PathBuf, RestoreError> {
    let below = || Some(revkeep_vault::state_folder()?.join(name));
    named.or_else(below).ok_or_else(|| {
        RestoreError::new(
            Kind::Invalid,
            format!("there is neither HOME nor XDG_STATE_HOME. Try: --{name} DIR"),
        )
    })
}
