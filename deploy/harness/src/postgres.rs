//! A real PostgreSQL.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::dev::{dev_dir, missing};
use crate::port::free_port;
use crate::process::Process;

const USER: &str = "revkeep";
const PASSWORD: &str = "not-a-secret-loopback-only";
/// PostgreSQL refuses to run as root, so then it runs as the user that owns nothing.
const NOBODY: u32 = 65_534;
/// It is usually ready in a second.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running PostgreSQL on 127.0.0.1, in a folder that goes with it.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    programs: PathBuf,
    process: Process,
    _folder: TempDir,
}

impl Postgres {
    /// Makes a database cluster and starts a server on it. `None`, said by name, where it is not installed.
    ///
    /// # Panics
    /// With `CI=true` where it is not installed.
    pub async fn start() -> Result<Option<Self>> {
        let install = dev_dir().join("postgres");
        if !install.join(BIN).join("postgres").is_file() {
            missing("PostgreSQL", true);
            return Ok(None);
        }
        let folder = TempDir::with_prefix("revkeep-pg-")?;
        // The server's user has to pass through it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let install = reachable(&install, folder.path())?;
        let programs = install.join(BIN);
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::create_dir(&data)?;
        std::fs::write(&password, PASSWORD)?;
        if is_root() {
            chown(&data, Some(NOBODY), Some(NOBODY))?;
            chown(&password, Some(NOBODY), Some(NOBODY))?;
        }
        let made = unprivileged(&programs.join("initdb"))
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--username",
                USER,
                "--auth=scram-sha-256",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg("--pwfile")
            .arg(&password)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .context("cannot run initdb")?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = free_port()?;
        let mut command = unprivileged(&programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        command.current_dir("/");
        let mut process = Process::start(command, &folder.path().join("postgres.log"))?;
        process
            .wait_for_log(
                "database system is ready to accept connections",
                READY_WITHIN,
            )
            .await?;
        Ok(Some(Self {
            port,
            programs,
            process,
            _folder: folder,
        }))
    }

    /// The address of a database: `postgres://user:password@127.0.0.1:PORT/name`.
    pub fn url(&self, database: &str) -> String {
        self.url_with(USER, PASSWORD, database)
    }

    /// The address of a database for another user or password.
    pub fn url_with(&self, user: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Makes an empty database; its address.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""))
            .await?;
        Ok(self.url(name))
    }

    /// Has psql run a statement; what it prints, without headings.
    pub async fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        ])
        .args(["--dbname", &self.url(database), "--command", statement])
        .stdin(Stdio::null());
        let done = tokio::task::spawn_blocking(move || psql.output()).await?;
        let done = done.context("cannot run psql")?;
        ensure!(
            done.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }

    /// The port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children end by themselves once it is asked to end; killed, it would leave them for a moment.
        if self.process.signal("INT").is_ok() {
            for _ in 0..500 {
                if !matches!(self.process.ended(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The programs within an install.
const BIN: &str = "pgserver/pginstall/bin";

fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The install where the server's user can reach it: a copy in `folder` if it is in somebody's private place.
fn reachable(install: &Path, folder: &Path) -> Result<PathBuf> {
    let asked = unprivileged(&install.join(BIN).join("postgres"))
        .arg("--version")
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    if asked.is_ok_and(|asked| asked.status.success()) {
        return Ok(install.to_path_buf());
    }
    let copy = folder.join("install");
    let status = Command::new("cp")
        .arg("-rL")
        .arg(install)
        .arg(&copy)
        .status()?;
    ensure!(status.success(), "cannot copy {}", install.display());
    let status = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(&copy)
        .status()?;
    ensure!(
        status.success(),
        "cannot open {} to its user",
        copy.display()
    );
    Ok(copy)
}
