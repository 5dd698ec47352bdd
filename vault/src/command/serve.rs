//! `serve`: looks after the vault on schedules and answers about its catalog.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use clap::Args;
use revkeep_vault::catalog::{Catalog, CatalogUrl};
use revkeep_vault::door::TlsFiles;
use revkeep_vault::schedule::{Schedule, zone};
use revkeep_vault::service::{Control, Job, JobSchedule, ProofOptions, ServeOptions, serve};
use revkeep_vault::{ErrorKind, Vault, VaultError, state_folder};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What `serve` takes.
#[derive(Args)]
#[command(after_help = "Examples:
  revkeep-vault serve --vault file:///var/backups/etcd --policy keep.toml
  revkeep-vault serve --vault s3://backups/etcd --catalog postgres://revkeep@db/fleet --policy keep.toml \\
    --listen 0.0.0.0:2390 --cert tls.crt --key tls.key --cacert callers.crt
SIGHUP has policy, token and certificates read again. SIGTERM ends it in order.")]
pub(super) struct Arguments {
    /// The vault
    #[arg(long, env = "REVKEEP_VAULT", value_name = "URL")]
    vault: String,
    /// The catalog: sqlite:///path or postgres://user@host/database; by default a file for the vault in ~/.local/state/revkeep
    #[arg(
        long,
        env = "REVKEEP_CATALOG",
        hide_env_values = true,
        value_name = "URL"
    )]
    catalog: Option<String>,
    /// The policy of retention: TOML; without one nothing is deleted
    #[arg(long, env = "REVKEEP_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where to answer: gRPC, /metrics, /livez, /readyz
    #[arg(
        long,
        env = "REVKEEP_VAULT_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:2390"
    )]
    listen: SocketAddr,
    /// The certificate for TLS
    #[arg(
        long,
        env = "REVKEEP_VAULT_CERT",
        value_name = "FILE",
        requires = "key"
    )]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(
        long,
        env = "REVKEEP_VAULT_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    key: Option<PathBuf>,
    /// The authority that signed the certificates of callers; those without one get the probes alone
    #[arg(
        long,
        env = "REVKEEP_VAULT_CACERT",
        value_name = "FILE",
        requires = "cert"
    )]
    cacert: Option<PathBuf>,
    /// A file with the token that callers show as 'authorization: Bearer TOKEN'
    #[arg(long, env = "REVKEEP_VAULT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// When the catalog is brought up to date
    #[arg(
        long,
        env = "REVKEEP_CATALOG_SCHEDULE",
        value_name = "CRON",
        default_value = "*/5 * * * *"
    )]
    catalog_schedule: Schedule,
    /// When retention is applied, by --policy
    #[arg(
        long,
        env = "REVKEEP_RETENTION_SCHEDULE",
        value_name = "CRON",
        default_value = "17 * * * *"
    )]
    retention_schedule: Schedule,
    /// When clusters are verified: what is new, and what was not read for --verify-period; by default never
    #[arg(long, env = "REVKEEP_VERIFY_SCHEDULE", value_name = "CRON")]
    verify_schedule: Option<Schedule>,
    /// Each byte is read once in this time
    #[arg(long, env = "REVKEEP_VERIFY_PERIOD", value_name = "DURATION", default_value = "30d", value_parser = humantime::parse_duration)]
    verify_period: Duration,
    /// Where it is kept what was seen and when it was read; by default in ~/.local/state/revkeep
    #[arg(long, env = "REVKEEP_LEDGER", value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// When any revision of any cluster is restored and booted, by `revkeep drill`; by default never
    #[arg(long, env = "REVKEEP_DRILL_SCHEDULE", value_name = "CRON")]
    drill_schedule: Option<Schedule>,
    /// Drills boot the etcd that is here; by default revkeep-store
    #[arg(
        long,
        env = "REVKEEP_DRILL_ETCD_BIN",
        value_name = "DIR",
        requires = "drill_schedule"
    )]
    drill_etcd_bin: Option<PathBuf>,
    /// The time zone of the schedules
    #[arg(long, env = "REVKEEP_TIME_ZONE", value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    time_zone: Tz,
    /// Start up to so much later than scheduled, at random
    #[arg(long, env = "REVKEEP_VAULT_JITTER", value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    jitter: Duration,
    /// How long heads are believed before all names of a cluster are listed again; pins, deletions and receipts of others
    /// than this service wait that long to be seen
    #[arg(long, env = "REVKEEP_CATALOG_RELIST", value_name = "DURATION", default_value = "6h", value_parser = humantime::parse_duration)]
    relist: Duration,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    super::output::log(arguments.log_json);
    let url: CatalogUrl = match &arguments.catalog {
        Some(url) => url.parse()?,
        None => CatalogUrl::default_for(&arguments.vault)?,
    };
    let control = signals()?;
    let vault = Vault::open(&arguments.vault).await?;
    let catalog = Catalog::open(&url).await?;
    let tls = match (arguments.cert, arguments.key) {
        (Some(cert), Some(key)) => Some(TlsFiles {
            cert,
            key,
            cacert: arguments.cacert,
        }),
        _ => None,
    };
    let due = |job, schedule: Schedule| JobSchedule {
        job,
        schedule: schedule.in_zone(arguments.time_zone),
    };
    let mut schedules = vec![due(Job::CatalogSync, arguments.catalog_schedule)];
    if arguments.policy.is_some() {
        schedules.push(due(Job::Retention, arguments.retention_schedule));
    }
    let proving = [
        (Job::Verification, arguments.verify_schedule),
        (Job::Drill, arguments.drill_schedule),
    ];
    for (job, schedule) in proving {
        schedules.extend(schedule.map(|schedule| due(job, schedule)));
    }
    let ledger = arguments
        .ledger
        .or_else(|| Some(state_folder()?.join("ledger")));
    let ledger = ledger.ok_or_else(|| {
        VaultError::new(
            ErrorKind::Config,
            "there is no place for a ledger, as HOME is not set. Try: --ledger DIR",
        )
    })?;
    let options = ServeOptions {
        proofs: ProofOptions {
            url: arguments.vault,
            ledger,
            period: arguments.verify_period,
            etcd_bin: arguments.drill_etcd_bin,
        },
        listen: arguments.listen,
        tls,
        token_file: arguments.token_file,
        schedules,
        jitter: arguments.jitter,
        relist: arguments.relist,
        policy: arguments.policy,
    };
    serve(vault, catalog, options, control).await?;
    Ok(true)
}

/// SIGTERM and SIGINT end the service, SIGHUP has files read again.
fn signals() -> Result<Control, VaultError> {
    let stop = CancellationToken::new();
    let (asked, reload) = watch::channel(0_u64);
    let failed = |error: std::io::Error| {
        VaultError::new(ErrorKind::Internal, "listen to signals").with_source(error)
    };
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hup = signal(SignalKind::hangup()).map_err(failed)?;
    let ending = stop.clone();
    // It lives as long as the process: there is nothing to wait for.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => return ending.cancel(),
                _ = int.recv() => return ending.cancel(),
                _ = hup.recv() => asked.send_modify(|count| *count += 1),
            }
        }
    });
    Ok(Control { stop, reload })
}
