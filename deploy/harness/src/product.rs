//! Revkeep's own binaries as an operator runs them.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{Process, SeaweedFs, binary};

/// The cluster name that [`Agent`] captures under.
pub const CLUSTER: &str = "test";

/// How long the agent may take to flush and end after SIGTERM.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A vault as an operator names it: a URL, and what its credentials need.
#[derive(Clone, Debug)]
pub struct VaultPlace {
    /// `file:///…` or `s3://…`.
    pub url: String,
    /// Environment variables of every command that opens it.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl VaultPlace {
    /// A vault in a folder.
    pub fn folder(path: &Path) -> Self {
        Self {
            url: format!("file://{}", path.display()),
            environment: Vec::new(),
        }
    }

    /// A vault under a prefix of a bucket.
    pub fn bucket(s3: &SeaweedFs, prefix: &str) -> Self {
        Self {
            url: s3.url(prefix),
            environment: s3.credentials().to_vec(),
        }
    }
}

/// A running `revkeep-agent run`.
#[derive(Debug)]
pub struct Agent {
    process: Process,
}

impl Agent {
    /// Starts an agent on `endpoints` that fills `vault`; its state and log are in `folder`.
    ///
    /// # Errors
    /// When the binary cannot be built or started.
    pub fn start(
        folder: &Path,
        endpoints: &[String],
        vault: &VaultPlace,
        flags: &[&str],
    ) -> Result<Self> {
        Self::start_with(folder, endpoints, vault, flags, &[])
    }

    /// The same with further environment variables: where it is to fail, say.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_with(
        folder: &Path,
        endpoints: &[String],
        vault: &VaultPlace,
        flags: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let state = folder.join("state");
        let endpoints = endpoints.join(",");
        let state = state.to_str().context("a path that is not UTF-8")?;
        let arguments = [
            "run",
            "--endpoints",
            &endpoints,
            "--vault",
            &vault.url,
            "--cluster",
            CLUSTER,
        ];
        let arguments = arguments
            .into_iter()
            .chain(["--state-dir", state])
            .chain(flags.iter().copied());
        let process = Process::spawn(
            &binary("revkeep-agent")?,
            arguments,
            vault
                .environment
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .chain(environment.iter().cloned()),
            &folder.join("agent.log"),
        )?;
        Ok(Self { process })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn alive(&mut self) -> Result<()> {
        ensure!(
            self.process.ended()?.is_none(),
            "the agent had ended by itself:\n{}",
            self.process.log_tail(40)
        );
        Ok(())
    }

    /// SIGTERM: the agent flushes what it holds and ends.
    ///
    /// # Errors
    /// When it does not end in time or says that it failed.
    pub async fn stop(mut self) -> Result<()> {
        let status = self.terminate().await?;
        ensure!(
            status.success(),
            "the agent ended with {status}:\n{}",
            self.process.log_tail(40)
        );
        Ok(())
    }

    /// SIGTERM, and how it ended then.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.terminate()?;
        self.process.wait(STOPPED_WITHIN).await
    }

    /// Sends it a signal, such as `HUP`.
    ///
    /// # Errors
    /// When it has ended, or cannot be signalled.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        self.alive()?;
        self.process.signal(name)
    }

    /// SIGKILL, as a crash would.
    ///
    /// # Errors
    /// When the process cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.alive()?;
        self.process.kill()
    }

    /// SIGKILL, unless it has ended by itself just before; how it ended. By the child's own handle, so that no other process is
    /// ever meant.
    ///
    /// # Errors
    /// When the process cannot be ended.
    pub fn crash(&mut self) -> Result<ExitStatus> {
        self.process.kill()?;
        self.process.ended()?.context("it was killed, and runs")
    }

    /// Waits for a line in its log.
    ///
    /// # Errors
    /// When the agent ends first, or the line does not come in time.
    pub async fn wait_for_log(&mut self, text: &str) -> Result<()> {
        self.process
            .wait_for_log(text, Duration::from_secs(60))
            .await
    }
}

/// What a run of a command gave.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// The standard output as JSON.
    ///
    /// # Errors
    /// When the run failed or printed something else.
    pub fn json(&self) -> Result<serde_json::Value> {
        ensure!(self.code == 0, "ended with {}:\n{}", self.code, self.stderr);
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {}", self.stdout))
    }
}

/// Runs `PROGRAM ARGUMENTS --vault VAULT` to its end; `program` is one of this workspace's binaries.
///
/// # Errors
/// When the binary cannot be built or started, or ends by a signal.
pub async fn run(program: &str, vault: &VaultPlace, arguments: &[&str]) -> Result<Answer> {
    let output = tokio::process::Command::new(binary(program)?)
        .args(arguments)
        .args(["--vault", &vault.url])
        .envs(vault.environment.clone())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let Some(code) = output.status.code() else {
        bail!("{program} ended with {}", output.status)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer {
        code,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}
