//! Where programs keep what is theirs and should last.

use std::path::PathBuf;

/// `REVKEEP_STATE_DIR`, or `revkeep` in `XDG_STATE_HOME` or `~/.local/state`; `None` where no home is known.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("REVKEEP_STATE_DIR")
        .map(PathBuf::from)
        .or_else(|| set("XDG_STATE_HOME").map(|home| PathBuf::from(home).join("revkeep")))
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state/revkeep")))
}
