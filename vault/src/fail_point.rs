//! Named places at which a test ends the process as a crash would, or has the disk refuse to write.
//!
//! They do something only with the feature `fail-points`, which tests alone turn on (as a development dependency), and
//! only when the environment asks for it; without the feature each is an empty function.
//!
//! - `REVKEEP_FAIL_AT=NAME:N` aborts the process when the place is reached for the N-th time: no destructor runs, no
//!   buffer is flushed, no file is removed, as with SIGKILL.
//! - `REVKEEP_IMPATIENT=1` makes requests to an object store time out and be tried again within a second or two.
//! - `REVKEEP_DISK_FULL=PATH` makes writes to the local disk fail as on a full one, for as long as a file is at PATH.
//!
//! The names are those that stand in the sources: a test reads them there, and fails when one is never reached.

/// The process may end here.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub const fn reached(_name: &'static str) {}

/// The disk may be full here.
///
/// # Errors
/// Only in tests that ask for it.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub const fn disk() -> std::io::Result<()> {
    Ok(())
}

/// Whether a store is to be given up soon, so that a test of many faults takes no hours.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub(crate) const fn impatient() -> bool {
    false
}

#[cfg(feature = "fail-points")]
pub(crate) use live::impatient;
#[cfg(feature = "fail-points")]
pub use live::{disk, reached};

#[cfg(feature = "fail-points")]
mod live {
    use std::io::{self, Write as _};
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where to end, and how often that place is still passed.
    static FAIL_AT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("REVKEEP_FAIL_AT").ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU64::new(times.parse().ok()?)))
    });

    static DISK_FULL: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("REVKEEP_DISK_FULL").map(PathBuf::from));

    /// The process may end here.
    pub fn reached(name: &'static str) {
        if let Some((wanted, times)) = &*FAIL_AT
            && wanted == name
            && times.fetch_sub(1, Ordering::Relaxed) == 1
        {
            // Whoever reads the log wants to know; it may be closed.
            let _ = writeln!(io::stderr(), "fail point {name}: the process ends here");
            std::process::abort();
        }
    }

    static IMPATIENT: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("REVKEEP_IMPATIENT").is_some());

    pub(crate) fn impatient() -> bool {
        *IMPATIENT
    }

    /// The disk may be full here.
    pub fn disk() -> io::Result<()> {
        match &*DISK_FULL {
            Some(path) if path.exists() => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}
