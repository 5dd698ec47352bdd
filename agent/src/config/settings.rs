//! Everything that can be set.

use std::path::PathBuf;

use chrono_tz::Tz;
use clap::Args;
use clap::builder::BoolishValueParser;
use serde::{Deserialize, Serialize};

use super::secret::{Login, Secret};
use super::values::{Period, Size, list};
use crate::Schedule;
use crate::base::HashPolicy;
use crate::command::{LogFormat, LogLevel};
use crate::maintenance::Scope;
use crate::source::Prefer;
use crate::status::Listen;
use crate::turn::UploadPolicy;

/// What one source says, or all of them together: flags and variables, or a configuration file with the same words as
/// keys. `None` is what it does not say.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[command(
    next_help_heading = "Connection (as etcdctl; ETCDCTL_* variables count too, after REVKEEP_*)"
)]
pub struct Settings {
    /// Members of the cluster; one is used at a time [default: 127.0.0.1:2379].
    #[arg(
        long,
        env = "REVKEEP_ENDPOINTS",
        value_delimiter = ',',
        value_name = "URL,…"
    )]
    #[serde(default, deserialize_with = "list")]
    pub endpoints: Option<Vec<String>>,
    /// The authority that signed the server's certificate; the system's by default. Files are read again when they change.
    #[arg(long, env = "REVKEEP_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    #[arg(long, env = "REVKEEP_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The client's private key.
    #[arg(long, env = "REVKEEP_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Takes whatever certificate the server shows. For tests: it may be anybody's.
    #[arg(long, env = "REVKEEP_INSECURE_SKIP_TLS_VERIFY", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub insecure_skip_tls_verify: Option<bool>,
    /// The user, or the user and the password after a colon.
    #[arg(
        long,
        env = "REVKEEP_USER",
        hide_env_values = true,
        value_name = "NAME[:PASSWORD]"
    )]
    pub user: Option<Login>,
    /// The password, if it does not stand in --user. Others on this machine can see it: better is --password-file.
    #[arg(long, env = "REVKEEP_PASSWORD", hide_env_values = true)]
    pub password: Option<Secret>,
    /// A file with the password alone. It is read at every login, so that a change needs no restart.
    #[arg(long, env = "REVKEEP_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// How long a connect may take [default: 2s].
    #[arg(long, env = "REVKEEP_DIAL_TIMEOUT", value_name = "DURATION")]
    pub dial_timeout: Option<Period>,
    /// How long a short request may take [default: 5s].
    #[arg(long, env = "REVKEEP_COMMAND_TIMEOUT", value_name = "DURATION")]
    pub command_timeout: Option<Period>,
    /// The largest message that is taken of a watch; for a larger one a base is taken instead [default: 1GiB].
    #[arg(long, env = "REVKEEP_MAX_DECODING", value_name = "SIZE")]
    pub max_decoding: Option<Size>,

    /// The vault: file:///dir, s3://bucket/prefix?endpoint=…&region=…
    #[arg(
        long,
        env = "REVKEEP_VAULT",
        value_name = "URL",
        help_heading = "Backup"
    )]
    pub vault: Option<String>,
    /// The cluster's name in the vault.
    #[arg(
        long,
        env = "REVKEEP_CLUSTER",
        value_name = "NAME",
        help_heading = "Backup"
    )]
    pub cluster: Option<String>,
    /// Where snapshots are spooled, and segments while the object store is away; belongs to this agent alone. Name one that
    /// outlives the process, so that the next start finds what waits. A temporary directory by default.
    #[arg(
        long,
        env = "REVKEEP_STATE_DIR",
        value_name = "DIR",
        help_heading = "Backup"
    )]
    pub state_dir: Option<PathBuf>,
    /// The longest time that a change waits before it is stored: the most that a disaster can cost. At least 100ms
    /// [default: 10s].
    #[arg(
        long,
        env = "REVKEEP_FLUSH_INTERVAL",
        value_name = "DURATION",
        help_heading = "Backup"
    )]
    pub flush_interval: Option<Period>,
    /// The size at which changes are stored at once. At most 128MiB [default: 8MiB].
    #[arg(
        long,
        env = "REVKEEP_FLUSH_BYTES",
        value_name = "SIZE",
        help_heading = "Backup"
    )]
    pub flush_bytes: Option<Size>,
    /// When bases are taken: a cron expression, or @hourly and the like [default: */30 * * * *].
    #[arg(
        long,
        env = "REVKEEP_SNAPSHOT_SCHEDULE",
        value_name = "CRON",
        help_heading = "Backup"
    )]
    pub snapshot_schedule: Option<Schedule>,
    /// The time zone of schedules, such as Europe/Berlin [default: UTC].
    #[arg(long, env = "REVKEEP_TIME_ZONE", value_name = "ZONE", value_parser = revkeep_vault::schedule::zone,
        help_heading = "Backup")]
    pub time_zone: Option<Tz>,
    /// Sealed changes that may wait in --state-dir while the object store is away. Past it later changes are watched and not
    /// kept; a base is taken as soon as the store is back, and what the source has compacted by then is a recorded gap
    /// [default: 2GiB].
    #[arg(
        long,
        env = "REVKEEP_SPOOL_LIMIT",
        value_name = "SIZE",
        help_heading = "Backup"
    )]
    pub spool_limit: Option<Size>,
    /// Changes that may wait in memory to be sealed; those that wait for the object store are in --state-dir
    /// [default: 8MiB].
    #[arg(
        long,
        env = "REVKEEP_QUEUE_BYTES",
        value_name = "SIZE",
        help_heading = "Backup"
    )]
    pub queue_bytes: Option<Size>,
    /// How long one attempt to store a segment may take, and a second more for every 256 KiB. It is then looked for in the
    /// store, and put again if it is not there [default: 30s].
    #[arg(
        long,
        env = "REVKEEP_UPLOAD_DEADLINE",
        value_name = "DURATION",
        help_heading = "Backup"
    )]
    pub upload_deadline: Option<Period>,
    /// Further behind than so many revisions, a base is taken instead of watching them all: a long catch-up is a load on
    /// the source [default: 100000].
    #[arg(
        long,
        env = "REVKEEP_CATCH_UP_LIMIT",
        value_name = "REVISIONS",
        help_heading = "Backup"
    )]
    pub catch_up_limit: Option<i64>,
    /// How long a stop may take to store what is held; what is not stored by then is captured again by the next start
    /// [default: 25s].
    #[arg(
        long,
        env = "REVKEEP_GRACE",
        value_name = "DURATION",
        help_heading = "Backup"
    )]
    pub grace: Option<Period>,

    /// Where there are several agents, one beside each member: whether one of them uploads and the others take over within
    /// seconds, or this one uploads in any case [default: one].
    #[arg(
        long,
        env = "REVKEEP_UPLOAD",
        value_enum,
        value_name = "WHO",
        help_heading = "Backup"
    )]
    pub upload: Option<UploadPolicy>,

    /// Which member sends snapshots: any, or a healthy follower among --endpoints where there is one [default: any].
    #[arg(
        long,
        env = "REVKEEP_PREFER",
        value_enum,
        value_name = "MEMBER",
        help_heading = "Source"
    )]
    pub prefer: Option<Prefer>,
    /// Whether a base is compared with the source's HashKV, for which a member reads all its rows: auto asks a follower if
    /// --endpoints has one, and not all agents at the same moment [default: auto].
    #[arg(
        long,
        env = "REVKEEP_HASHKV",
        value_enum,
        value_name = "WHEN",
        help_heading = "Source"
    )]
    pub hashkv: Option<HashPolicy>,

    /// When members are defragmented: a cron expression. Never, unless it is given.
    #[arg(
        long,
        env = "REVKEEP_DEFRAG_SCHEDULE",
        value_name = "CRON",
        help_heading = "Source"
    )]
    pub defrag_schedule: Option<Schedule>,
    /// Which members are: the first of --endpoints alone, or the whole cluster, followers first. Give the whole cluster to
    /// one agent only [default: member].
    #[arg(
        long,
        env = "REVKEEP_DEFRAG_SCOPE",
        value_enum,
        value_name = "SCOPE",
        help_heading = "Source"
    )]
    pub defrag_scope: Option<Scope>,
    /// Only members of which at least so much of the file is free, in percent [default: 45].
    #[arg(long, env = "REVKEEP_DEFRAG_FREE_PERCENT", value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100), help_heading = "Source")]
    pub defrag_free_percent: Option<u8>,
    /// … and at least so many bytes [default: 100MiB].
    #[arg(
        long,
        env = "REVKEEP_DEFRAG_FREE_BYTES",
        value_name = "SIZE",
        help_heading = "Source"
    )]
    pub defrag_free_bytes: Option<Size>,
    /// How long one member may take [default: 5m].
    #[arg(
        long,
        env = "REVKEEP_DEFRAG_TIMEOUT",
        value_name = "DURATION",
        help_heading = "Source"
    )]
    pub defrag_timeout: Option<Period>,
    /// The source's --quota-backend-bytes, for releases that do not tell it (before etcd 3.6): from 80 % of it on the agent
    /// warns. Without it nothing is known of theirs.
    #[arg(
        long,
        env = "REVKEEP_QUOTA_BYTES",
        value_name = "SIZE",
        help_heading = "Source"
    )]
    pub quota_bytes: Option<Size>,

    /// Where /livez, /readyz, /metrics and the gRPC service of `status`, `flush` and `snapshot --agent` are served: HOST:PORT,
    /// or off. Without it 127.0.0.1:2389, if that is free: for this machine only. 0.0.0.0:2389 opens it to probes and
    /// Prometheus of others; flush and snapshot are still done only for callers on this machine, or with a certificate.
    #[arg(
        long,
        env = "REVKEEP_LISTEN_STATUS",
        value_name = "HOST:PORT|off",
        help_heading = "Status"
    )]
    pub listen_status: Option<Listen>,

    /// Serves the status by TLS, with this certificate. Files are read again when they change.
    #[arg(
        long,
        env = "REVKEEP_STATUS_CERT",
        value_name = "FILE",
        help_heading = "Status"
    )]
    pub status_cert: Option<PathBuf>,
    /// The private key of --status-cert.
    #[arg(
        long,
        env = "REVKEEP_STATUS_KEY",
        value_name = "FILE",
        help_heading = "Status"
    )]
    pub status_key: Option<PathBuf>,
    /// Asks callers for a certificate of this authority. Without one they get only /livez and /readyz.
    #[arg(
        long,
        env = "REVKEEP_STATUS_CACERT",
        value_name = "FILE",
        help_heading = "Status"
    )]
    pub status_cacert: Option<PathBuf>,

    /// Flags of every command; see [`crate::command::LogArguments`].
    #[arg(skip)]
    pub log_format: Option<LogFormat>,
    /// As `log_format`.
    #[arg(skip)]
    pub log_level: Option<LogLevel>,
}

/// Does something for every setting, by its field.
macro_rules! each_setting {
    ($do:ident!($($with:tt)*)) => {
        $do!([$($with)*]
            endpoints cacert cert key insecure_skip_tls_verify user password password_file dial_timeout command_timeout
            max_decoding vault cluster state_dir flush_interval flush_bytes snapshot_schedule time_zone spool_limit
            queue_bytes upload_deadline catch_up_limit grace upload prefer hashkv defrag_schedule defrag_scope defrag_free_percent
            defrag_free_bytes defrag_timeout quota_bytes listen_status status_cert status_key status_cacert
            log_format log_level)
    };
}
pub(super) use each_setting;

impl Settings {
    /// What holds where nobody says otherwise.
    #[must_use]
    pub fn defaults() -> Self {
        let seconds = |seconds| Some(Period(std::time::Duration::from_secs(seconds)));
        let mib = |mib: usize| Some(Size(mib << 20));
        Self {
            endpoints: Some(vec!["127.0.0.1:2379".to_owned()]),
            dial_timeout: seconds(2),
            command_timeout: seconds(5),
            max_decoding: mib(1 << 10),
            flush_interval: seconds(10),
            flush_bytes: mib(8),
            snapshot_schedule: "*/30 * * * *".parse().ok(),
            time_zone: Some(Tz::UTC),
            spool_limit: mib(2 << 10),
            queue_bytes: mib(8),
            upload_deadline: seconds(30),
            catch_up_limit: Some(100_000),
            grace: seconds(25),
            upload: Some(UploadPolicy::One),
            prefer: Some(Prefer::Any),
            hashkv: Some(HashPolicy::Auto),
            defrag_scope: Some(Scope::Member),
            defrag_free_percent: Some(45),
            defrag_free_bytes: mib(100),
            defrag_timeout: seconds(300),
            log_level: Some(LogLevel::Info),
            ..Self::default()
        }
    }

    /// Every setting's field.
    #[must_use]
    pub fn fields() -> Vec<&'static str> {
        macro_rules! names {
            ([] $($field:ident)*) => { vec![$(stringify!($field)),*] };
        }
        each_setting!(names!())
    }

    /// Every setting's key, as it stands in a file.
    #[must_use]
    pub fn keys() -> Vec<String> {
        Self::fields().into_iter().map(key).collect()
    }
}

/// A field's key: its flag without the dashes before it.
pub(super) fn key(field: &str) -> String {
    field.replace('_', "-")
}
