//! The flags of `serve`, and the settings they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::log::LogFlags;
use crate::error::StoreError;
use crate::server::{AutoCompaction, ClusterState, Config, InitialCluster, ServerUrl, TlsFiles};

const CLIENT_URL: &str = "http://localhost:2379";
const PEER_URL: &str = "http://localhost:2380";

/// etcd's flags. Each can be an `ETCD_*` variable too; the flag wins, and of a flag given twice the last.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ServeFlags {
    /// The member's name.
    #[arg(
        long,
        env = "ETCD_NAME",
        default_value = "default",
        help_heading = "Member"
    )]
    name: String,
    /// Where its files are; `NAME.revkeep` where it is not given.
    #[arg(
        long,
        env = "ETCD_DATA_DIR",
        value_name = "DIR",
        help_heading = "Member"
    )]
    data_dir: Option<PathBuf>,
    /// Where to listen for clients, URLs separated by commas.
    #[arg(
        long,
        env = "ETCD_LISTEN_CLIENT_URLS",
        value_name = "URLS",
        help_heading = "Member"
    )]
    listen_client_urls: Option<String>,
    /// Where to listen for peers.
    #[arg(long, env = "ETCD_LISTEN_PEER_URLS", default_value = PEER_URL, value_name = "URLS", help_heading = "Member")]
    listen_peer_urls: String,
    /// Where to serve /metrics and /health besides the client URLs.
    #[arg(
        long,
        env = "ETCD_LISTEN_METRICS_URLS",
        default_value = "",
        value_name = "URLS",
        help_heading = "Member"
    )]
    listen_metrics_urls: String,
    /// The most bytes that the database may have; 0 for 2 GiB, negative for no bound.
    #[arg(
        long,
        env = "ETCD_QUOTA_BACKEND_BYTES",
        default_value_t = 0,
        value_name = "BYTES",
        allow_negative_numbers = true,
        help_heading = "Member"
    )]
    quota_backend_bytes: i64,
    /// Entries after which the log may be cut.
    #[arg(
        long,
        env = "ETCD_SNAPSHOT_COUNT",
        default_value_t = 100_000,
        value_name = "ENTRIES",
        help_heading = "Member"
    )]
    snapshot_count: u64,
    /// Time between two heartbeats, in milliseconds.
    #[arg(
        long,
        env = "ETCD_HEARTBEAT_INTERVAL",
        default_value_t = 100,
        value_name = "MS",
        help_heading = "Member"
    )]
    heartbeat_interval: u64,
    /// How long to wait for a heartbeat before standing for election, in milliseconds.
    #[arg(
        long,
        env = "ETCD_ELECTION_TIMEOUT",
        default_value_t = 1000,
        value_name = "MS",
        help_heading = "Member"
    )]
    election_timeout: u64,
    /// The most bytes of one request.
    #[arg(
        long,
        env = "ETCD_MAX_REQUEST_BYTES",
        default_value_t = 1_572_864,
        value_name = "BYTES",
        help_heading = "Member"
    )]
    max_request_bytes: usize,
    /// The most operations of one transaction.
    #[arg(
        long,
        env = "ETCD_MAX_TXN_OPS",
        default_value_t = 128,
        value_name = "OPS",
        help_heading = "Member"
    )]
    max_txn_ops: usize,
    /// The most streams of one connection.
    #[arg(long, env = "ETCD_MAX_CONCURRENT_STREAMS", default_value_t = u32::MAX, value_name = "STREAMS", help_heading = "Member")]
    max_concurrent_streams: u32,
    /// After how long without a word from a client it is asked whether it is still there; 0s for never.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_INTERVAL", default_value = "2h", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Member")]
    grpc_keepalive_interval: Duration,
    /// How long it may take to answer before its connection is closed.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_TIMEOUT", default_value = "20s", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Member")]
    grpc_keepalive_timeout: Duration,
    /// How often an idle watcher that asked for it hears how far it is.
    #[arg(long, alias = "experimental-watch-progress-notify-interval", env = "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL", default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Member")]
    watch_progress_notify_interval: Duration,

    /// What to tell clients; needed where --listen-client-urls is given.
    #[arg(
        long,
        env = "ETCD_ADVERTISE_CLIENT_URLS",
        value_name = "URLS",
        help_heading = "Cluster"
    )]
    advertise_client_urls: Option<String>,
    /// What to tell peers.
    #[arg(long, env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", default_value = PEER_URL, value_name = "URLS", help_heading = "Cluster")]
    initial_advertise_peer_urls: String,
    /// The cluster's members, name=peer-url separated by commas; this one alone where it is not given.
    #[arg(
        long,
        env = "ETCD_INITIAL_CLUSTER",
        value_name = "MEMBERS",
        help_heading = "Cluster"
    )]
    initial_cluster: Option<String>,
    /// Keeps clusters that know the same URLs apart.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_TOKEN", default_value = revkeep_schemas::member::ids::DEFAULT_TOKEN, value_name = "TOKEN", help_heading = "Cluster")]
    initial_cluster_token: String,
    /// `new` to begin a cluster, `existing` to join one.
    #[arg(
        long,
        env = "ETCD_INITIAL_CLUSTER_STATE",
        default_value = "new",
        value_name = "STATE",
        help_heading = "Cluster"
    )]
    initial_cluster_state: String,
    /// Refuse changes of membership that would cost the quorum.
    #[arg(long, env = "ETCD_STRICT_RECONFIG_CHECK", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL", help_heading = "Cluster")]
    strict_reconfig_check: bool,
    /// The most learners.
    #[arg(
        long,
        alias = "experimental-max-learners",
        env = "ETCD_MAX_LEARNERS",
        default_value_t = 1,
        value_name = "LEARNERS",
        help_heading = "Cluster"
    )]
    max_learners: usize,
    /// `periodic` or `revision`.
    #[arg(
        long,
        env = "ETCD_AUTO_COMPACTION_MODE",
        default_value = "periodic",
        value_name = "MODE",
        help_heading = "Cluster"
    )]
    auto_compaction_mode: String,
    /// How much history to keep: a time or a number of revisions; 0 for all.
    #[arg(
        long,
        env = "ETCD_AUTO_COMPACTION_RETENTION",
        default_value = "0",
        value_name = "RETENTION",
        help_heading = "Cluster"
    )]
    auto_compaction_retention: String,

    /// The certificate shown to clients.
    #[arg(
        long,
        env = "ETCD_CERT_FILE",
        value_name = "FILE",
        help_heading = "Security"
    )]
    cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(
        long,
        env = "ETCD_KEY_FILE",
        value_name = "FILE",
        help_heading = "Security"
    )]
    key_file: Option<PathBuf>,
    /// Whom to trust; clients must then show a certificate.
    #[arg(
        long,
        env = "ETCD_TRUSTED_CA_FILE",
        value_name = "FILE",
        help_heading = "Security"
    )]
    trusted_ca_file: Option<PathBuf>,
    /// Take the common name of a client's certificate as the user's name.
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL", help_heading = "Security")]
    client_cert_auth: bool,
    /// The certificate shown to peers.
    #[arg(
        long,
        env = "ETCD_PEER_CERT_FILE",
        value_name = "FILE",
        help_heading = "Security"
    )]
    peer_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(
        long,
        env = "ETCD_PEER_KEY_FILE",
        value_name = "FILE",
        help_heading = "Security"
    )]
    peer_key_file: Option<PathBuf>,
    /// Whom to trust among peers.
    #[arg(
        long,
        env = "ETCD_PEER_TRUSTED_CA_FILE",
        value_name = "FILE",
        help_heading = "Security"
    )]
    peer_trusted_ca_file: Option<PathBuf>,
    /// Ask peers for a certificate.
    #[arg(long, env = "ETCD_PEER_CLIENT_CERT_AUTH", default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL", help_heading = "Security")]
    peer_client_cert_auth: bool,
    /// The common names that a peer's certificate may carry, separated by commas.
    #[arg(
        long,
        env = "ETCD_PEER_CERT_ALLOWED_CN",
        default_value = "",
        value_name = "NAMES",
        help_heading = "Security"
    )]
    peer_cert_allowed_cn: String,
    /// The kind of tokens: `simple`, or `jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=10m`.
    #[arg(
        long,
        env = "ETCD_AUTH_TOKEN",
        default_value = "simple",
        value_name = "SPEC",
        help_heading = "Security"
    )]
    auth_token: String,
    /// How long a simple token lives after its last use, in seconds; 0 for 300.
    #[arg(
        long,
        env = "ETCD_AUTH_TOKEN_TTL",
        default_value_t = 300,
        value_name = "SECONDS",
        help_heading = "Security"
    )]
    auth_token_ttl: u64,
    /// The cost of hashing a password, 4 to 31.
    #[arg(
        long,
        env = "ETCD_BCRYPT_COST",
        default_value_t = 10,
        value_name = "COST",
        help_heading = "Security"
    )]
    bcrypt_cost: u32,

    /// What is logged.
    #[command(flatten, next_help_heading = "Log")]
    pub(super) log: LogFlags,
}

impl ServeFlags {
    /// The settings that the flags make.
    ///
    /// # Errors
    /// If a flag cannot be read, or two contradict each other; the error names the flag.
    pub fn config(self) -> Result<Config, StoreError> {
        let advertise_client_urls = match (&self.advertise_client_urls, &self.listen_client_urls) {
            (Some(urls), _) => urls.as_str(),
            (None, None) => CLIENT_URL,
            (None, Some(_)) => {
                return Err(StoreError::Config(
                    "--advertise-client-urls is needed where --listen-client-urls is given"
                        .to_owned(),
                ));
            }
        };
        let initial_advertise_peer_urls = ServerUrl::list(&self.initial_advertise_peer_urls)?;
        let initial_cluster = match self.initial_cluster.as_deref() {
            Some(cluster) if !cluster.is_empty() => cluster.parse()?,
            _ => InitialCluster::alone(&self.name, &initial_advertise_peer_urls),
        };
        let names = self.peer_cert_allowed_cn.split(',');
        let config = Config {
            data_dir: self
                .data_dir
                .unwrap_or_else(|| PathBuf::from(format!("{}.revkeep", self.name))),
            listen_client_urls: ServerUrl::list(
                self.listen_client_urls.as_deref().unwrap_or(CLIENT_URL),
            )?,
            advertise_client_urls: ServerUrl::list(advertise_client_urls)?,
            listen_peer_urls: ServerUrl::list(&self.listen_peer_urls)?,
            initial_advertise_peer_urls,
            listen_metrics_urls: match self.listen_metrics_urls.as_str() {
                "" => Vec::new(),
                urls => ServerUrl::list(urls)?,
            },
            initial_cluster,
            initial_cluster_token: self.initial_cluster_token,
            initial_cluster_state: self.initial_cluster_state.parse::<ClusterState>()?,
            quota_backend_bytes: self.quota_backend_bytes,
            auto_compaction: AutoCompaction::parse(
                &self.auto_compaction_mode,
                &self.auto_compaction_retention,
            )?,
            snapshot_count: self.snapshot_count,
            heartbeat_interval: Duration::from_millis(self.heartbeat_interval),
            election_timeout: Duration::from_millis(self.election_timeout),
            max_request_bytes: self.max_request_bytes,
            max_txn_ops: self.max_txn_ops,
            max_concurrent_streams: self.max_concurrent_streams,
            keepalive_interval: self.grpc_keepalive_interval,
            keepalive_timeout: self.grpc_keepalive_timeout,
            auth_token: self.auth_token,
            auth_token_ttl: Duration::from_secs(self.auth_token_ttl),
            bcrypt_cost: self.bcrypt_cost,
            client_tls: TlsFiles::from_flags(
                "--",
                self.cert_file,
                self.key_file,
                self.trusted_ca_file,
                self.client_cert_auth,
                Vec::new(),
            )?,
            peer_tls: TlsFiles::from_flags(
                "--peer-",
                self.peer_cert_file,
                self.peer_key_file,
                self.peer_trusted_ca_file,
                self.peer_client_cert_auth,
                names
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )?,
            watch_progress_notify_interval: self
                .watch_progress_notify_interval
                .max(Duration::from_millis(100)),
            strict_reconfig_check: self.strict_reconfig_check,
            max_learners: self.max_learners,
            name: self.name,
        };
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ServeFlags,
    }

    fn config(flags: &[&str]) -> Result<Config, StoreError> {
        let line = std::iter::once("serve").chain(flags.iter().copied());
        Line::try_parse_from(line).unwrap().flags.config()
    }

    #[test]
    fn no_flag_is_a_cluster_of_one() {
        let config = config(&[]).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("default.revkeep"));
        assert_eq!(
            config.listen_client_urls,
            ServerUrl::list(CLIENT_URL).unwrap()
        );
    }

    #[test]
    fn the_last_of_a_flag_counts() {
        let config = config(&["--name=a", "--name=b"]).unwrap();
        assert_eq!(config.name, "b");
    }

    #[test]
    fn flags_are_read_as_etcd_reads_them() {
        let config = config(&[
            "--name=a",
            "--listen-client-urls=http://h:1,http://h:2",
            "--advertise-client-urls=http://h:1",
            "--initial-advertise-peer-urls=http://h:3",
            "--initial-cluster=a=http://h:3,b=http://h:4",
            "--auto-compaction-retention=5m",
            "--quota-backend-bytes=-1",
            "--strict-reconfig-check=false",
        ])
        .unwrap();
        assert_eq!(config.listen_client_urls.len(), 2);
        assert_eq!(config.initial_cluster.members().count(), 2);
        assert_eq!(
            config.auto_compaction,
            Some(AutoCompaction::Periodic(Duration::from_secs(300)))
        );
        assert_eq!(config.quota_bytes(), None);
        assert!(!config.strict_reconfig_check);
    }

    #[test]
    fn listening_elsewhere_needs_an_address_to_tell() {
        let error = config(&["--listen-client-urls=http://h:1"]).unwrap_err();
        assert!(error.message().contains("--advertise-client-urls"));
    }
}
