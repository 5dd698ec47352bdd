//! Children with a log each, ended by their own ids.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::error::{Kind, RestoreError};

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// What a log says, in lower case, where the machine and not the data keeps a server from running.
const OF_THE_MACHINE: [&str; 7] = [
    ADDRESS_IN_USE,
    "no space left on device",
    "disk quota exceeded",
    "too many open files",
    "cannot allocate memory",
    "error while loading shared libraries",
    "exec format error",
];
const ADDRESS_IN_USE: &str = "address already in use";
/// A shell's code for a program that cannot be executed, and for one that is not there.
const NOT_EXECUTED: [i32; 2] = [126, 127];

/// A running child. Killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// How it ended, where it did by itself.
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a program; what it prints goes to `log`. Of the caller's environment it does not see what etcd would take for
    /// its settings, for those are of another server.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: PathBuf,
    ) -> Result<Self, RestoreError> {
        let failed = |what: &str| RestoreError::io(format!("cannot {what} for {name}"));
        let output = File::create(&log).map_err(failed("make a log"))?;
        let errors = output.try_clone().map_err(failed("make a log"))?;
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"ETCD_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A group of its own, so that Ctrl-C in the terminal reaches the story first, which then ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(RestoreError::io(format!(
                "cannot start {}",
                program.display()
            )))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            ended: None,
        })
    }

    /// An error with the end of its log if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), RestoreError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.ended = Some(status);
                Err(RestoreError::new(
                    Kind::Failed,
                    format!(
                        "{} ended early ({status}). {}",
                        self.name,
                        self.last_words()
                    ),
                ))
            }
            Err(error) => Err(RestoreError::new(
                Kind::Failed,
                format!("cannot ask for the state of {}", self.name),
            )
            .because(error)),
        }
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether somebody else has its address.
    pub(crate) fn finds_its_address_in_use(&self) -> bool {
        self.log().to_lowercase().contains(ADDRESS_IN_USE)
    }

    /// Whether it does not serve for a reason that has nothing to do with what it was to serve: it was killed, it cannot be
    /// executed, or its log speaks of the machine.
    pub(crate) fn fails_by_the_machine(&self) -> bool {
        let log = self.log().to_lowercase();
        let ended = self.ended;
        let killed = ended.and_then(|ended| ended.signal());
        let code = ended.and_then(|ended| ended.code());
        killed.is_some_and(|signal| {
            [Signal::KILL, Signal::TERM]
                .iter()
                .any(|it| it.as_raw() == signal)
        }) || code.is_some_and(|code| NOT_EXECUTED.contains(&code))
            || OF_THE_MACHINE.iter().any(|words| log.contains(words))
    }

    /// The end of its log, to explain a failure.
    pub(crate) fn last_words(&self) -> String {
        let text = self.log();
        let lines: Vec<_> = text.lines().rev().take(8).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        format!("The end of its log:\n{}", lines.join("\n"))
    }

    /// SIGKILL: no chance to tidy up, as in a power failure of this one process.
    pub(crate) async fn kill(mut self) -> Result<(), RestoreError> {
        self.child
            .kill()
            .await
            .map_err(RestoreError::io(format!("cannot kill {}", self.name)))
    }

    /// SIGTERM, and SIGKILL for one that does not listen.
    pub(crate) async fn stop(mut self) -> Result<(), RestoreError> {
        let Some(id) = self.child.id() else {
            return Ok(());
        };
        let _gone = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(_ended) => Ok(()),
            Err(_late) => self.kill().await,
        }
    }
}

/// Runs a program to its end and returns what it wrote to standard output.
pub(crate) async fn output(program: &Path, arguments: &[String]) -> Result<String, RestoreError> {
    let shown = || {
        let name = program.file_name().unwrap_or(program.as_os_str());
        format!("{} {}", name.to_string_lossy(), arguments.join(" "))
    };
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(RestoreError::io(format!("cannot run {}", shown())))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(RestoreError::new(
        Kind::Failed,
        format!(
            "{} failed ({}): {}",
            shown(),
            done.status,
            String::from_utf8_lossy(&done.stderr).trim()
        ),
    ))
}

/// `count` different ports on 127.0.0.1 that are free now.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, RestoreError> {
    let failed = || RestoreError::io("cannot find a free port on 127.0.0.1");
    // All are held until the last is found, so that they differ.
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<Result<_, _>>()
        .map_err(failed())?;
    held.iter()
        .map(|listener| Ok(listener.local_addr().map_err(failed())?.port()))
        .collect()
}

/// How a reader in this folder can call a program: by its name where `PATH` leads to it, otherwise by its path.
pub(crate) fn typed(program: &Path) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = program.file_name().unwrap_or(program.as_os_str());
    let first = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|found| found.is_file());
    let here = std::env::current_dir().ok();
    let near = here.and_then(|here| program.strip_prefix(here).ok());
    let shown = match (first, near) {
        (Some(first), _) if first == program => Path::new(name),
        (_, Some(near)) => near,
        _ => program,
    };
    shown.display().to_string()
}

/// A program: in `folder` where one is named, otherwise beside this one or in `PATH`.
pub(crate) fn find(name: &str, folder: Option<&PathBuf>) -> Result<PathBuf, RestoreError> {
    if let Some(folder) = folder {
        let program = folder.join(name);
        return if is_executable(&program) {
            Ok(program)
        } else {
            let message = format!(
                "there is no program {} that can be executed: name the folder that it is in",
                program.display()
            );
            Err(RestoreError::new(Kind::Invalid, message))
        };
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| is_executable(program))
        .ok_or_else(|| {
            let advice = if name.starts_with("revkeep") {
                "cargo build --release --bins, or put it there"
            } else {
                "--etcd-bin DIR"
            };
            RestoreError::new(
                Kind::Invalid,
                format!("the program {name} is neither beside this one nor in PATH. Try: {advice}"),
            )
        })
}

/// Whether anybody may execute a file.
fn is_executable(program: &Path) -> bool {
    let about = std::fs::metadata(program);
    about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
