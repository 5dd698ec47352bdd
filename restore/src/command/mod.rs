//! The operator's command line.

mod catalog;
mod diff;
mod drill;
mod export;
mod finish;
mod get;
mod import;
mod info;
mod into;
mod keys_out;
mod log;
mod past_vault;
mod pin;
mod place;
mod point;
mod restore;
mod selection;
mod shown;
mod signals;
mod status;
mod steps;
mod value;
mod verify;
mod whole;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::error::{Kind, RestoreError};

pub use steps::Step;

/// How results and errors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For eyes.
    #[default]
    #[value(alias = "simple")]
    Table,
    /// For programs.
    Json,
    /// For programs, one object a line as it comes.
    Ndjson,
    /// One field a line, for `get`.
    Fields,
}

/// Point-in-time recovery for etcd: see what a vault holds, and bring any revision back.
#[derive(Debug, Parser)]
#[command(
    name = "revkeep",
    version,
    after_help = "Examples:
  revkeep demo
  revkeep status --vault s3://backups/etcd
  revkeep info prod --vault s3://backups/etcd
  revkeep restore prod --vault s3://backups/etcd --to-revision 120934 --dry-run
  revkeep restore prod --vault s3://backups/etcd --latest --data-dir /var/lib/etcd-restored"
)]
pub struct Cli {
    /// The vault: file:///dir, s3://bucket/prefix?endpoint=…&region=…
    #[arg(long, env = "REVKEEP_VAULT", value_name = "URL", global = true)]
    vault: Option<String>,
    /// How to write results and errors
    #[arg(
        short = 'w',
        long = "write-out",
        value_enum,
        default_value_t,
        global = true
    )]
    output: Output,
    /// The catalog: sqlite:///path or postgres://user@host/database; by default a file for the vault in ~/.local/state/revkeep
    #[arg(
        long,
        env = "REVKEEP_CATALOG",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    catalog: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a revision back as a data directory, of etcd or of revkeep-store, or as a snapshot file
    Restore(Box<restore::Arguments>),
    /// Write a revision as a plain etcd snapshot
    Export(export::Arguments),
    /// Make a base of an existing etcd snapshot
    Import(import::Arguments),
    /// Say how all clusters are, the worst first, with reasons
    Status(status::Arguments),
    /// Show what can be recovered: timelines, bases, coverage and gaps
    Info(info::Arguments),
    /// Read keys as they were at a revision or time, without restoring
    Get(get::Arguments),
    /// Tell every version of keys, with deletions, also what the source has compacted
    Log(log::Arguments),
    /// Compare two revisions: what was created, changed and deleted
    Diff(diff::Arguments),
    /// Keep a recovery point, by a name
    Pin(pin::PinArguments),
    /// Take a pin back
    Unpin(pin::UnpinArguments),
    /// Prove that everything in the vault can be read and is what it should be
    Verify(verify::Arguments),
    /// Restore a revision into a temporary folder, boot a server on it, and compare HashKV
    Drill(drill::Arguments),
    /// Keep an index of the vault in SQL, and ask it
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// See all of it in two minutes: three members, an agent, an accident, and an exact restore
    Demo(crate::demo::Options),
}

/// Parses the command line, does what it asks and says how it went.
pub async fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            if wants_json(std::env::args()) {
                let message = error.render().to_string();
                let message = message.trim_end().trim_start_matches("error: ");
                let _closed = complain(&RestoreError::new(Kind::Invalid, message), Output::Json);
            } else {
                let _closed = error.print();
            }
            return Kind::Invalid.exit_code().into();
        }
        // Help, and the version.
        Err(error) => {
            let _closed = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let done = match (&cli.vault, &cli.command) {
        (_, Command::Demo(options)) => {
            Box::pin(crate::demo::tell(options, signals::cancellation())).await
        }
        (vault, Command::Status(arguments)) => {
            let (vault, catalog) = (vault.as_deref(), cli.catalog.as_deref());
            Box::pin(status::run(vault, catalog, arguments, cli.output)).await
        }
        (vault, Command::Catalog(command)) => {
            let (vault, catalog) = (vault.as_deref(), cli.catalog.as_deref());
            Box::pin(catalog::run(vault, catalog, command, cli.output)).await
        }
        (None, _) => Err(RestoreError::new(
            Kind::Invalid,
            "no vault is named. Try: --vault file:///var/backups/etcd, or set REVKEEP_VAULT",
        )),
        (Some(vault), command) => Box::pin(with_vault(vault, command, cli.output)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The answer said it already.
            if !matches!(error.kind(), Kind::Different | Kind::Unhealthy) {
                // Nobody is left to tell when this fails.
                let _closed = complain(&error, cli.output);
            }
            error.kind().exit_code().into()
        }
    }
}

async fn with_vault(vault: &str, command: &Command, output: Output) -> Result<(), RestoreError> {
    if output == Output::Fields && !matches!(command, Command::Get(_)) {
        return Err(RestoreError::new(
            Kind::Invalid,
            "-w fields is for get alone. Try: -w json",
        ));
    }
    match command {
        Command::Restore(arguments) => Box::pin(restore::run(vault, arguments, output)).await,
        Command::Export(arguments) => Box::pin(export::run(vault, arguments, output)).await,
        Command::Import(arguments) => Box::pin(import::run(vault, arguments, output)).await,
        Command::Info(arguments) => Box::pin(info::run(vault, arguments, output)).await,
        Command::Get(arguments) => Box::pin(get::run(vault, arguments, output)).await,
        Command::Log(arguments) => Box::pin(log::run(vault, arguments, output)).await,
        Command::Diff(arguments) => Box::pin(diff::run(vault, arguments, output)).await,
        Command::Pin(arguments) => Box::pin(pin::pin(vault, arguments, output)).await,
        Command::Unpin(arguments) => Box::pin(pin::unpin(vault, arguments, output)).await,
        Command::Verify(arguments) => Box::pin(verify::run(vault, arguments, output)).await,
        Command::Drill(arguments) => Box::pin(drill::run(vault, arguments, output)).await,
        // These need no vault, or make one of their own.
        Command::Status(_) | Command::Catalog(_) | Command::Demo(_) => Ok(()),
    }
}

/// Whether a command line that could not be read asks for JSON.
fn wants_json(arguments: impl Iterator<Item = String>) -> bool {
    let mut named = false;
    for argument in arguments {
        let value = ["--write-out=", "-w=", "-w"]
            .iter()
            .find_map(|flag| argument.strip_prefix(flag));
        if matches!(value, Some("json" | "ndjson"))
            || named && matches!(argument.as_str(), "json" | "ndjson")
        {
            return true;
        }
        named = matches!(argument.as_str(), "-w" | "--write-out");
    }
    false
}

#[derive(Serialize)]
struct Complaint {
    error: String,
    kind: Kind,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<crate::error::Nearest>,
}

fn complain(error: &RestoreError, output: Output) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    match output {
        Output::Table | Output::Fields => writeln!(stderr, "revkeep: {error}"),
        Output::Json | Output::Ndjson => {
            let complaint = Complaint {
                error: error.to_string(),
                kind: error.kind(),
                exit_code: error.kind().exit_code(),
                nearest: error.nearest(),
            };
            writeln!(stderr, "{}", serde_json::to_string(&complaint)?)
        }
    }
}

/// Writes a result to standard output. Whoever has closed it has seen enough: what was done is done.
fn answer(
    result: &(impl Serialize + std::fmt::Display),
    output: Output,
) -> Result<(), RestoreError> {
    let mut stdout = io::stdout().lock();
    let written = match output {
        Output::Table | Output::Fields => write!(stdout, "{result}"),
        Output::Json => serde_json::to_string_pretty(result)
            .map_err(io::Error::from)
            .and_then(|json| writeln!(stdout, "{json}")),
        Output::Ndjson => serde_json::to_string(result)
            .map_err(io::Error::from)
            .and_then(|json| writeln!(stdout, "{json}")),
    };
    printed(written.and_then(|()| stdout.flush()))
}

/// What came of writing a result. Whoever has closed the pipe has seen enough.
fn printed(written: io::Result<()>) -> Result<(), RestoreError> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(RestoreError::io("write the result")(error))
        }
        _ => Ok(()),
    }
}
