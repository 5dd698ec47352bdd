//! The command line of `revkeep-vault`.

mod lock;
mod output;
mod probe;
mod retention;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use revkeep_vault::{ErrorKind, VaultError};

/// Looks after a vault: one prefix of an object store with the backups of any number of etcd clusters.
#[derive(Parser)]
#[command(
    name = "revkeep-vault",
    version,
    after_help = "Examples:
  revkeep-vault probe --vault 's3://bucket/etcd?region=eu-central-1'
  revkeep-vault retention check keep.toml
  revkeep-vault retention plan --vault file:///var/backups/etcd --policy keep.toml
  revkeep-vault retention apply --vault file:///var/backups/etcd --policy keep.toml"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what the object store honours of what a vault needs; makes the vault if there is none
    Probe(probe::Arguments),
    /// Decide what is kept, and delete the rest
    #[command(subcommand)]
    Retention(retention::Command),
    /// Look after the vault on schedules, and answer about its catalog: gRPC, metrics, probes
    Serve(Box<serve::Arguments>),
}

/// Runs the command that the arguments ask for.
pub(crate) async fn run() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _closed = error.print();
        let wrong = i32::from(ErrorKind::Config.exit_code());
        std::process::exit(if error.use_stderr() { wrong } else { 0 })
    });
    let done = match arguments.command {
        Command::Probe(arguments) => probe::run(arguments).await,
        Command::Retention(command) => retention::run(command).await,
        Command::Serve(arguments) => Box::pin(serve::run(*arguments)).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let code = error
                .downcast_ref::<VaultError>()
                .map_or(1, |error| error.kind().exit_code());
            output::error(&error.to_string());
            ExitCode::from(code)
        }
    }
}
