//! The command line: etcdctl's names for what etcdctl has, `REVKEEP_*` for what is ours.

mod connection;
mod log;
mod output;
mod remote;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::capture::batch::Limits;
use crate::run::{Route, RunOptions, run, snapshot};
use crate::status::{Listen, stored_base};
use crate::{AgentError, Schedule, size};

pub use connection::ConnectionArguments;
pub use log::{LogArguments, LogFormat, LogLevel};
pub use output::{Format, report};
use remote::{Remote, RemoteArguments};

/// The shortest time for an attempt.
const SHORTEST_DEADLINE: Duration = Duration::from_secs(1);
/// The shortest time between two segments.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The largest batch: the index of a segment has a limit of its own, which millions of small rows would reach.
const LARGEST_BATCH: usize = 128 << 20;

/// Captures every revision of an etcd cluster into a vault.
#[derive(Debug, Parser)]
#[command(
    name = "revkeep-agent",
    version,
    after_help = "Examples:\n  \
        revkeep-agent run --endpoints 127.0.0.1:2379 --vault file:///var/backups/etcd --cluster prod\n  \
        revkeep-agent run --endpoints https://127.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key \\\n      \
            --vault 's3://backups/etcd?region=eu-central-1' --cluster prod --state-dir /var/lib/revkeep\n  \
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
    /// Captures until it is stopped; SIGTERM and SIGINT flush first.
    Run(Box<RunArguments>),
    /// Takes one base now, and ends; with --agent the agent that runs there takes it.
    Snapshot(Box<SnapshotArguments>),
    /// Has a running agent store what it holds, without waiting for the flush interval.
    Flush(FlushArguments),
    /// Tells how a running agent is: what is durable, how far behind, and why it is not healthy.
    Status(RemoteArguments),
}

/// Where from and where to.
#[derive(Debug, Args)]
struct RouteArguments {
    #[command(flatten)]
    connection: ConnectionArguments,
    /// The vault: file:///dir, s3://bucket/prefix?endpoint=…&region=…
    #[arg(long, env = "REVKEEP_VAULT", value_name = "URL")]
    vault: String,
    /// The cluster's name in the vault.
    #[arg(long, env = "REVKEEP_CLUSTER", value_name = "NAME")]
    cluster: String,
    /// Where snapshots are spooled, and segments while the object store is away; belongs to this agent alone. Name one that
    /// outlives the process, so that the next start finds what waits. A temporary directory by default.
    #[arg(long, env = "REVKEEP_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl RouteArguments {
    fn resolve(&self) -> Result<Route, AgentError> {
        Ok(Route {
            connection: self.connection.resolve(|name| std::env::var(name).ok())?,
            vault: self.vault.clone(),
            cluster: self.cluster.clone(),
            state_dir: self.state_dir.clone(),
        })
    }
}

#[derive(Debug, Args)]
struct SnapshotArguments {
    /// Ask the agent that runs here (its --listen-status) to take the base; then nothing else is needed.
    #[arg(long, value_name = "URL")]
    agent: Option<String>,
    /// How long the running agent may take.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    connection: ConnectionArguments,
    /// The vault: file:///dir, s3://bucket/prefix?endpoint=…&region=…
    #[arg(
        long,
        env = "REVKEEP_VAULT",
        value_name = "URL",
        required_unless_present = "agent"
    )]
    vault: Option<String>,
    /// The cluster's name in the vault.
    #[arg(
        long,
        env = "REVKEEP_CLUSTER",
        value_name = "NAME",
        required_unless_present = "agent"
    )]
    cluster: Option<String>,
    /// Where the snapshot is spooled; must be no other agent's. A temporary directory by default.
    #[arg(long, env = "REVKEEP_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl SnapshotArguments {
    async fn execute(&self, json: bool) -> Result<(), AgentError> {
        if let Some(agent) = &self.agent {
            let mut agent = Remote::connect(agent).await?;
            return output::base(&agent.snapshot(self.timeout).await?, json);
        }
        let route = Route {
            connection: self.connection.resolve(|name| std::env::var(name).ok())?,
            vault: self.vault.clone().unwrap_or_default(),
            cluster: self.cluster.clone().unwrap_or_default(),
            state_dir: self.state_dir.clone(),
        };
        let manifest = Box::pin(snapshot(&route)).await?;
        output::base(&stored_base(&manifest), json)
    }
}

#[derive(Debug, Args)]
struct FlushArguments {
    #[command(flatten)]
    remote: RemoteArguments,
    /// How long it may take until everything is acknowledged.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    route: RouteArguments,
    /// The longest time that a change waits before it is stored: the most that a disaster can cost. At least 100ms.
    #[arg(long, env = "REVKEEP_FLUSH_INTERVAL", default_value = "10s", value_parser = humantime::parse_duration)]
    flush_interval: Duration,
    /// The size at which changes are stored at once. At most 128MiB.
    #[arg(long, env = "REVKEEP_FLUSH_BYTES", default_value = "8MiB", value_parser = size::parse)]
    flush_bytes: usize,
    /// When bases are taken: a cron expression, in UTC.
    #[arg(
        long,
        env = "REVKEEP_SNAPSHOT_SCHEDULE",
        default_value = "*/30 * * * *"
    )]
    snapshot_schedule: Schedule,
    /// Sealed changes that may wait in --state-dir while the object store is away. Past it later changes are watched and not
    /// kept; a base is taken as soon as the store is back, and what the source has compacted by then is a recorded gap.
    #[arg(long, env = "REVKEEP_SPOOL_LIMIT", default_value = "2GiB", value_parser = size::parse, value_name = "SIZE")]
    spool_limit: usize,
    /// Changes that may wait in memory to be sealed; those that wait for the object store are in --state-dir.
    #[arg(long, env = "REVKEEP_QUEUE_BYTES", default_value = "8MiB", value_parser = size::parse, value_name = "SIZE")]
    queue_bytes: usize,
    /// How long one attempt to store a segment may take, and a second more for every 256 KiB. It is then looked for in the
    /// store, and put again if it is not there.
    #[arg(long, env = "REVKEEP_UPLOAD_DEADLINE", default_value = "30s", value_parser = humantime::parse_duration)]
    upload_deadline: Duration,
    /// Further behind than so many revisions, a base is taken instead of watching them all: a long catch-up is a load on
    /// the source.
    #[arg(
        long,
        env = "REVKEEP_CATCH_UP_LIMIT",
        default_value_t = 100_000,
        value_name = "REVISIONS"
    )]
    catch_up_limit: i64,
    /// How long a stop may take to store what is held; what is not stored by then is captured again by the next start.
    #[arg(long, env = "REVKEEP_GRACE", default_value = "25s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Where /livez, /readyz, /metrics and the gRPC service of `status`, `flush` and `snapshot --agent` are served, over plain
    /// HTTP: HOST:PORT, or off. Without it 127.0.0.1:2389, if that is free: for this machine only. 0.0.0.0:2389 opens it to
    /// probes and Prometheus of others; flush and snapshot are still done only for callers on this machine.
    #[arg(
        long,
        env = "REVKEEP_LISTEN_STATUS",
        value_name = "HOST:PORT|off",
        help_heading = "Status"
    )]
    listen_status: Option<Listen>,
}

impl RunArguments {
    fn options(&self) -> Result<RunOptions, AgentError> {
        if self.flush_interval < SHORTEST_INTERVAL {
            return Err(AgentError::Config(
                "--flush-interval: 100ms is the least".to_owned(),
            ));
        }
        if self.flush_bytes > LARGEST_BATCH {
            return Err(AgentError::Config(
                "--flush-bytes: 128MiB is the most".to_owned(),
            ));
        }
        Ok(RunOptions {
            limits: Limits {
                interval: self.flush_interval,
                bytes: self.flush_bytes.max(1),
            },
            queue_bytes: self.queue_bytes,
            spool_limit: self.spool_limit as u64,
            upload_deadline: self.upload_deadline.max(SHORTEST_DEADLINE),
            schedule: Some(self.snapshot_schedule.clone()),
            catch_up_limit: self.catch_up_limit.max(1),
            grace: self.grace,
            listen: self.listen_status.clone().unwrap_or_default(),
        })
    }
}

impl Arguments {
    /// Whether results and errors are JSON.
    #[must_use]
    pub const fn json(&self) -> bool {
        matches!(self.write_out, Format::Json)
    }

    /// Whether what goes to stderr is JSON.
    #[must_use]
    pub fn json_errors(&self) -> bool {
        self.log.json(self.json())
    }

    /// Logs to stderr; `RUST_LOG` decides what, if it is set.
    pub fn start_log(&self) {
        self.log.start(self.json_errors());
    }

    /// Does what was asked, until `stop`.
    ///
    /// # Errors
    /// [`AgentError::Interrupted`] when a one-shot command was stopped.
    pub async fn execute(&self, stop: CancellationToken) -> Result<(), AgentError> {
        let json = self.json();
        match &self.command {
            Command::Run(arguments) => {
                Box::pin(run(arguments.route.resolve()?, arguments.options()?, stop)).await
            }
            Command::Snapshot(arguments) => tokio::select! {
                taken = Box::pin(arguments.execute(json)) => taken,
                () = stop.cancelled() => Err(AgentError::Interrupted),
            },
            Command::Flush(arguments) => {
                let mut agent = arguments.remote.connect().await?;
                output::durable(agent.flush(arguments.timeout).await?, json)
            }
            Command::Status(remote) => {
                let status = remote.connect().await?.status().await?;
                output::status(&status, json)
            }
        }
    }
}
