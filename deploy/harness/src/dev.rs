//! Where the development servers are, and what a test does when one is missing.

use std::path::{Path, PathBuf};

/// The root of this workspace.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The folder that `deploy/dev/setup` fills: `REVKEEP_DEV_DIR`, else `.dev` at the workspace's root.
pub fn dev_dir() -> PathBuf {
    std::env::var_os("REVKEEP_DEV_DIR").map_or_else(|| workspace_root().join(".dev"), PathBuf::from)
}

/// Says by name that a server is missing. A test then returns early, so that a laptop without it can run the rest.
///
/// # Panics
/// With `CI=true`, where `base` says that the setup must have provided it: a check that silently does not run is worse.
pub(crate) fn missing(what: &str, base: bool) {
    let text = format!("MISSING {what}: run deploy/dev/setup; what needs it is skipped");
    assert!(
        !(base && std::env::var("CI").as_deref() == Ok("true")),
        "{text}"
    );
    eprintln!("{text}");
}
