//! This workspace's own binaries, for tests that run them as real processes.

use crate::dev::workspace_root;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The path of a binary of this workspace (`revkeep`, `revkeep-agent`, …), built in the profile of the running test.
///
/// Cargo brings it up to date first (a fraction of a second when it is), unless `REVKEEP_BINARIES=ready` says that this
/// was done, as `deploy/dev/test` does.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // target/<profile>/deps/<test> or target/<profile>/<binary>
    let folder = test
        .ancestors()
        .skip(1)
        .find(|folder| {
            folder
                .file_name()
                .is_some_and(|name| name != "deps" && name != "examples")
        })
        .context("a test runs from inside target/")?;
    let path = folder.join(name);
    let ready = std::env::var("REVKEEP_BINARIES").as_deref() == Ok("ready");
    if !(ready && path.is_file()) {
        build(name)?;
    }
    ensure!(
        path.is_file(),
        "cargo built {name}, but not as {}",
        path.display()
    );
    Ok(path)
}

fn build(name: &str) -> Result<()> {
    // One at a time, and each once in a process: a test that polls a binary must not wait for cargo every time.
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.contains(name) {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--workspace", "--bin", name])
        // With a test among the targets, dependencies have the features that they have for all tests, so they are not
        // built once more for the binary.
        .args(["--test", "starts_real_servers"])
        .current_dir(workspace_root());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo cannot build {name}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    built.insert(name.to_owned());
    Ok(())
}
