//! `revkeep-vault`: looks after a vault.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use revkeep_vault::{ErrorKind, Vault, VaultError, probe};

/// Looks after a vault: one prefix of an object store with the backups of any number of etcd clusters.
#[derive(Parser)]
#[command(
    name = "revkeep-vault",
    version,
    after_help = "Examples:
  revkeep-vault probe --vault file:///var/backups/etcd
  revkeep-vault probe --vault 's3://bucket/etcd?region=eu-central-1'
  AWS_ACCESS_KEY_ID=… revkeep-vault probe --vault 's3://bucket/etcd?endpoint=http://127.0.0.1:9000'"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what the object store honours of what a vault needs; makes the vault if there is none
    Probe {
        /// The vault: file:///dir, s3://bucket/prefix?endpoint=…&region=… or memory:
        #[arg(long, env = "REVKEEP_VAULT", value_name = "URL")]
        vault: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _closed = error.print();
        let wrong = i32::from(ErrorKind::Config.exit_code());
        std::process::exit(if error.use_stderr() { wrong } else { 0 })
    });
    let Command::Probe { vault, json } = arguments.command;
    match run(&vault, json).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let code = error
                .downcast_ref::<VaultError>()
                .map_or(1, |error| error.kind().exit_code());
            let _closed = writeln!(std::io::stderr().lock(), "error: {error}");
            ExitCode::from(code)
        }
    }
}

async fn run(url: &str, json: bool) -> anyhow::Result<bool> {
    let report = probe(&Vault::create(url).await?).await?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(report.usable());
    }
    for (what, honoured, otherwise) in report.findings() {
        if honoured {
            writeln!(out, "ok    {what}")?;
        } else {
            writeln!(out, "FAIL  {what}: {otherwise}")?;
        }
    }
    Ok(report.usable())
}
