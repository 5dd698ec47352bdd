//! The certificate that is shown, read again when its files change.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout};

use super::tls_files::{Contents, TlsFiles, config, contents};
use crate::error::VaultError;

/// Between two looks at the files, at most one for a handshake.
const LOOK: Duration = Duration::from_secs(5);
/// A look that takes longer than this is not waited for: files may lie where nobody answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was found when the files were looked at last.
struct Seen {
    looked: Instant,
    contents: Contents,
}

type Config = Arc<RwLock<Arc<ServerConfig>>>;

/// What is shown to callers.
pub struct Identity {
    files: TlsFiles,
    config: Config,
    /// Whoever looks at the files has it for as long as that takes; nobody waits for it at a handshake.
    seen: Arc<Mutex<Seen>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// `Config` that names the file.
    pub async fn read(files: TlsFiles) -> Result<Self, VaultError> {
        let contents = contents(&files).await?;
        let config = Arc::new(RwLock::new(config(&files, &contents)?));
        let looked = Instant::now();
        Ok(Self {
            files,
            config,
            seen: Arc::new(Mutex::new(Seen { looked, contents })),
        })
    }

    /// Whether callers are asked for a certificate.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.files.cacert.is_some()
    }

    /// Looks at the files at once rather than at a handshake within some seconds. What is wrong changes nothing and is logged.
    pub async fn reload(&self) {
        match timeout(PATIENCE, Arc::clone(&self.seen).lock_owned()).await {
            Ok(seen) => self.look(seen).await,
            Err(_) => late(),
        }
    }

    /// By the files as they are now, or as they were before while they cannot be read; those that are wrong do not count.
    pub(super) async fn now(&self) -> Arc<ServerConfig> {
        if let Ok(seen) = Arc::clone(&self.seen).try_lock_owned()
            && seen.looked.elapsed() >= LOOK
        {
            self.look(seen).await;
        }
        let shown = self.config.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shown)
    }

    async fn look(&self, seen: OwnedMutexGuard<Seen>) {
        // It goes on when it is not waited for any more: a read that hangs cannot be ended, and while it has the guard no other
        // is begun.
        let looking = tokio::spawn(look(self.files.clone(), Arc::clone(&self.config), seen));
        if timeout(PATIENCE, looking).await.is_err() {
            late();
        }
    }
}

fn late() {
    tracing::warn!(
        within = ?PATIENCE,
        "callers are shown the certificate as before: its files cannot be read in time"
    );
}

async fn look(files: TlsFiles, shown: Config, mut seen: OwnedMutexGuard<Seen>) {
    seen.looked = Instant::now();
    let found = match contents(&files).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "callers are shown the certificate as before");
            return;
        }
    };
    if found == seen.contents {
        return;
    }
    match config(&files, &found) {
        Ok(config) => {
            *shown.write().unwrap_or_else(PoisonError::into_inner) = config;
            tracing::info!("callers are shown a new certificate");
        }
        Err(error) => {
            tracing::warn!(%error, "callers are shown the certificate as before: the new one cannot be used");
        }
    }
    // Told once for each change.
    seen.contents = found;
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::path::PathBuf;

    use revkeep_harness::Certificates;

    use super::*;

    /// A file that nobody answers for: to open it for reading hangs until somebody writes.
    struct Pipe(PathBuf);

    impl Pipe {
        fn in_the_place_of(file: PathBuf) -> Self {
            fs::remove_file(&file).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&file).status();
            assert!(made.unwrap().success());
            Self(file)
        }

        /// Puts a file in its place, and gives whoever reads the pipe the same.
        fn answer(&self, content: &[u8]) {
            // With both rights it opens whether somebody reads or not.
            let both = OpenOptions::new().read(true).write(true).open(&self.0);
            let next = self.0.with_extension("next");
            fs::write(&next, content).unwrap();
            fs::rename(&next, &self.0).unwrap();
            both.unwrap().write_all(content).unwrap();
        }
    }

    impl Drop for Pipe {
        /// However the test ends: a thread that hangs would keep it from ending.
        fn drop(&mut self) {
            self.answer(b"");
        }
    }

    #[tokio::test]
    async fn files_that_hang_hold_no_caller_up() {
        let folder = tempfile::tempdir().unwrap();
        let made = Certificates::make(&folder.path().join("a")).unwrap();
        let next = Certificates::make(&folder.path().join("b")).unwrap();
        let files = TlsFiles {
            cert: made.file("server.crt"),
            key: made.file("server.key"),
            cacert: None,
        };
        let identity = Identity::read(files).await.unwrap();
        let shown = identity.now().await;
        let pipe = Pipe::in_the_place_of(made.file("server.crt"));
        let long = Duration::from_secs(30);
        identity.seen.lock().await.looked = Instant::now().checked_sub(LOOK).unwrap();
        for _ in 0..3 {
            let callers = async { tokio::join!(identity.now(), identity.now()) };
            let (one, other) = timeout(long, callers).await.unwrap();
            assert!(Arc::ptr_eq(&one, &shown) && Arc::ptr_eq(&other, &shown));
        }
        // Who asks for it does not wait for ever either.
        timeout(long, identity.reload()).await.unwrap();
        assert!(identity.seen.try_lock().is_err(), "the look goes on");

        // The files answer, and the look that hung comes to its end.
        fs::copy(next.file("server.key"), made.file("server.key")).unwrap();
        pipe.answer(&fs::read(next.file("server.crt")).unwrap());
        let ended = timeout(long, identity.seen.lock()).await;
        drop(ended.unwrap());
        assert!(!Arc::ptr_eq(&identity.now().await, &shown));
    }
}
