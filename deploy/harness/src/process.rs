//! A child process with its log, ended by its own id.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a waiting test looks again.
const POLL: Duration = Duration::from_millis(10);

/// A child process. Standard output and error go to one log file; dropping the value kills the child, and prints the
/// end of its log if the test is failing.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` with `arguments` and extra environment variables. Its output is appended to `log`.
    pub fn spawn<A, K, V>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (K, V)>,
        log: &Path,
    ) -> Result<Self>
    where
        A: AsRef<OsStr>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut command = Command::new(program);
        command.args(arguments).envs(environment);
        Self::start(command, log)
    }

    /// Starts a command that was made by the caller. Its output is appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write the log {}", log.display()))?;
        let program = command.get_program().to_owned();
        let program = Path::new(&program);
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let name = program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            name,
            child,
            log: log.to_path_buf(),
            ended: None,
        })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the child has written so far; empty if the log cannot be read.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last `lines` lines of the log, for a failure's message.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(lines);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// How the child ended, or `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Asks the child to end (SIGTERM). Does not wait.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Sends a signal, such as `INT`, unless the child has ended. Does not wait.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        // The standard library can only kill; the shell's own `kill` needs neither unsafe code nor another crate.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$0\"", &self.pid().to_string(), name])
            .stderr(Stdio::null())
            .status()?;
        ensure!(
            status.success() || self.ended()?.is_some(),
            "{} (process {}) could not be signalled",
            self.name,
            self.pid()
        );
        Ok(())
    }

    /// Ends the child at once (SIGKILL), as a crash would, and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.child.kill()?;
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// Waits until the child ends by itself; fails, with the end of its log, if it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} still runs after {limit:?}:\n{}",
                    self.name,
                    self.log_tail(40)
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until `text` is in the log; fails if the child ends first or after `limit`.
    pub async fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            // Looked up before the log is read: what an ended child wrote last is then in it.
            let ended = self.ended()?;
            if self.log().contains(text) {
                return Ok(());
            }
            if ended.is_some() || Instant::now() >= deadline {
                let state =
                    ended.map_or_else(|| "still runs".to_owned(), |status| status.to_string());
                bail!(
                    "{} ({state}) never wrote {text:?}:\n{}",
                    self.name,
                    self.log_tail(40)
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- end of the log of {} ---\n{}",
                self.name,
                self.log_tail(30)
            );
        }
        // Nobody is left to tell; a child that cannot be killed is already gone.
        let _ = self.kill();
    }
}
