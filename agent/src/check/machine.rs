//! This machine: the state directory, room on its disk, limits of the process, files that others can read.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, geteuid, getrlimit};

use super::{Report, vault};
use crate::config::Loaded;
use crate::run::{Route, RunOptions};

/// Open files that an agent needs with room to spare: connections, segments in the spool, a snapshot.
const FILES: u64 = 1024;

/// Looks at it.
pub(super) fn look(route: &Route, options: &RunOptions, loaded: &Loaded, report: &mut Report) {
    let limit = options.spool_limit.get();
    match &route.state_dir {
        None => {
            report.warn(
                "state-dir",
                "none is given: what waits for the object store is lost when the agent ends",
                "give --state-dir a place that outlives the process",
            );
            room(&std::env::temp_dir(), limit, report);
        }
        Some(directory) => state_dir(directory, limit, report),
    }
    let files = getrlimit(Resource::Nofile).current;
    match files {
        Some(files) if files < FILES => report.warn(
            "files",
            format!("this process may open {files} files"),
            format!("allow {FILES}: LimitNOFILE= of systemd, or ulimit -n"),
        ),
        _ => report.ok("files", "it may open enough files"),
    }
    if geteuid().is_root() {
        report.warn(
            "user",
            "it runs as root, which it need not",
            "run it as a user of its own, which owns --state-dir and reads the key",
        );
    }
    let settings = &loaded.settings;
    for secret in [&settings.key, &settings.password_file, &settings.status_key]
        .into_iter()
        .flatten()
    {
        private(secret, report);
    }
}

/// Looks at where the vault is, once it is there: not beside what it is to outlive.
pub(super) fn beside(route: &Route, report: &mut Report) {
    if let (Some(folder), Some(state)) = (vault::folder(&route.vault), &route.state_dir)
        && let (Ok(folder), Ok(state)) = (fs::metadata(folder), fs::metadata(state))
        && folder.dev() == state.dev()
    {
        report.warn(
            "vault",
            "the vault is on the same disk as --state-dir: if that disk is lost, so is the backup",
            "use an object store, or another disk",
        );
    }
}

fn state_dir(directory: &Path, limit: u64, report: &mut Report) {
    let place = directory.display();
    let Ok(metadata) = fs::metadata(directory) else {
        let there = directory.ancestors().skip(1).find(|above| above.is_dir());
        let there = there.unwrap_or_else(|| Path::new("."));
        if access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
            report.ok(
                "state-dir",
                format!("{place} is not there yet: the agent makes it, for itself alone"),
            );
            room(there, limit, report);
        } else {
            report.fail(
                "state-dir",
                format!(
                    "{place} is not there, and cannot be made in {}",
                    there.display()
                ),
                "make it, owned by the agent's user, with mode 0700",
            );
        }
        return;
    };
    if !metadata.is_dir() {
        report.fail(
            "state-dir",
            format!("{place} is no directory"),
            "give a directory",
        );
        return;
    }
    match tempfile::Builder::new()
        .prefix("revkeep-check-")
        .tempfile_in(directory)
    {
        Ok(_removed) => {}
        Err(error) => {
            report.fail(
                "state-dir",
                format!("{place} cannot be written to: {error}"),
                "have the agent's user own it, and mount it writable",
            );
            return;
        }
    }
    let mode = metadata.permissions().mode() & 0o777;
    let open_to_others = mode & 0o077;
    if open_to_others == 0 {
        report.ok(
            "state-dir",
            format!("{place} is there, writable and private"),
        );
    } else {
        report.warn(
            "state-dir",
            format!("{place} is open to others (mode {mode:o})"),
            format!("chmod 700 {place}"),
        );
    }
    room(directory, limit, report);
}

fn room(directory: &Path, limit: u64, report: &mut Report) {
    let place = directory.display();
    match statvfs(directory) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let text = format!(
                "{} MiB are free at {place}, and {} MiB may wait there",
                free >> 20,
                limit >> 20
            );
            if free < limit {
                report.warn(
                    "room",
                    text,
                    "make room for the spool and one snapshot, or give a smaller --spool-limit",
                );
            } else {
                report.ok("room", text);
            }
        }
        Err(error) => report.warn("room", format!("{place}: {error}"), "see the disk"),
    }
}

fn private(path: &Path, report: &mut Report) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    // A mounted secret of Kubernetes is often readable by its group.
    if mode & 0o007 != 0 {
        let place = path.display();
        report.warn(
            "secrets",
            format!("{place} can be read by everybody on this machine (mode {mode:o})"),
            format!("chmod o= {place}"),
        );
    }
}
