//! The command line: etcdctl's names for what etcdctl has, `REVKEEP_*` for what is ours.

mod config;
mod invocation;
mod log;
mod output;
mod remote;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::Settings;

pub use invocation::Invocation;
pub use log::{LogArguments, LogFormat, LogHandle, LogLevel};
pub use output::{Format, report};
use remote::{RemoteArguments, RemoteTls};

/// Captures every revision of an etcd cluster into a vault.
#[derive(Debug, Parser)]
#[command(
    name = "revkeep-agent",
    version,
    after_help = "Examples:\n  \
        revkeep-agent run --endpoints 127.0.0.1:2379 --vault file:///var/backups/etcd --cluster prod\n  \
        revkeep-agent run --endpoints https://127.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key \\\n      \
            --vault 's3://backups/etcd?region=eu-central-1' --cluster prod --state-dir /var/lib/revkeep\n  \
        revkeep-agent check --config /etc/revkeep/agent.toml; revkeep-agent run --config /etc/revkeep/agent.toml\n  \
        revkeep-agent snapshot --endpoints 127.0.0.1:2379 --vault file:///var/backups/etcd --cluster prod -w json\n  \
        revkeep-agent status; revkeep-agent flush; revkeep-agent snapshot --agent 127.0.0.1:2389"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How results and errors are written.
    #[arg(short = 'w', long = "write-out", global = true, value_enum, default_value_t = Format::Simple)]
    write_out: Format,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Captures until it is stopped; SIGTERM and SIGINT flush first, SIGHUP reads the configuration again.
    Run(Box<Given>),
    /// Takes one base now, and ends; with --agent the agent that runs there takes it.
    Snapshot(Box<SnapshotArguments>),
    /// Has a running agent store what it holds, without waiting for the flush interval.
    Flush(FlushArguments),
    /// Tells how a running agent is: what is durable, how far behind, and why it is not healthy.
    Status(RemoteArguments),
    /// Proves a configuration end to end, and says what to mend: endpoints, certificates, releases, permissions, members,
    /// quota, compaction, the vault and its store, this machine. Takes what `run` takes, and changes nothing on etcd.
    Check(Box<Given>),
    /// Checks a configuration file, or prints the settings that count.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Settings, and a file with more of them.
#[derive(Debug, Args)]
struct Given {
    /// A configuration file: TOML, with the words of these flags as keys. A flag comes first, then REVKEEP_*, then
    /// ETCDCTL_*, then the file.
    #[arg(long, env = "REVKEEP_CONFIG", value_name = "FILE", help_heading = None::<&str>)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct SnapshotArguments {
    /// Ask the agent that runs here (its --listen-status) to take the base; then nothing else is needed.
    #[arg(long, value_name = "URL")]
    agent: Option<String>,
    #[command(flatten)]
    tls: RemoteTls,
    /// How long the running agent may take.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, Args)]
struct FlushArguments {
    #[command(flatten)]
    remote: RemoteArguments,
    /// How long it may take until everything is acknowledged.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Checks a file, and asks nobody else.
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Prints the settings that `run` would have, from flags, variables, a file and defaults, as such a file; secrets are
    /// hidden. --debug says where each came from.
    Print(Box<Given>),
}

impl Command {
    /// The settings that were given, if the command has any.
    const fn given(&self) -> Option<&Given> {
        match self {
            Self::Run(given) | Self::Check(given) | Self::Config(ConfigCommand::Print(given)) => {
                Some(given)
            }
            Self::Snapshot(arguments) if arguments.agent.is_none() => Some(&arguments.given),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
