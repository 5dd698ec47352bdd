//! Every setting of a member.

use std::path::PathBuf;
use std::time::Duration;

use super::cluster::{ClusterState, InitialCluster};
use super::compaction::AutoCompaction;
use super::tls::TlsFiles;
use super::url::ServerUrl;
use crate::error::StoreError;

/// etcd's own bound on an election time-out.
const LONGEST_ELECTION: Duration = Duration::from_secs(50);

/// The quota where none is given (etcd, `DefaultQuotaBytes`): 2 GiB.
const DEFAULT_QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// The settings of one member. Names and defaults are those of etcd 3.5's flags.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name.
    pub name: String,
    /// Where its files are.
    pub data_dir: PathBuf,
    /// Where it listens for clients. Port 0 takes any free one.
    pub listen_client_urls: Vec<ServerUrl>,
    /// What it tells clients.
    pub advertise_client_urls: Vec<ServerUrl>,
    /// Where it listens for peers.
    pub listen_peer_urls: Vec<ServerUrl>,
    /// What it tells peers; its id is made from these.
    pub initial_advertise_peer_urls: Vec<ServerUrl>,
    /// Where `/metrics` and `/health` are served besides the client URLs.
    pub listen_metrics_urls: Vec<ServerUrl>,
    /// The members that the cluster begins with, or has when this one joins.
    pub initial_cluster: InitialCluster,
    /// Keeps clusters that know the same URLs apart.
    pub initial_cluster_token: String,
    /// Begin a cluster or join one.
    pub initial_cluster_state: ClusterState,
    /// The most bytes that the database may have; 0 for etcd's 2 GiB, negative for no bound.
    pub quota_backend_bytes: i64,
    /// When the store compacts itself.
    pub auto_compaction: Option<AutoCompaction>,
    /// Entries between two points to which the log may be cut.
    pub snapshot_count: u64,
    /// Time between two heartbeats of a leader.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for one before it stands for election.
    pub election_timeout: Duration,
    /// The most bytes of one request.
    pub max_request_bytes: usize,
    /// The most operations of one transaction.
    pub max_txn_ops: usize,
    /// The most streams of one connection.
    pub max_concurrent_streams: u32,
    /// After how long without a word from a client it is asked whether it is still there; zero for never.
    pub keepalive_interval: Duration,
    /// How long it may take to answer before its connection is closed; zero for never asking.
    pub keepalive_timeout: Duration,
    /// `simple`, or `jwt,pub-key=…,priv-key=…,sign-method=…,ttl=…`.
    pub auth_token: String,
    /// How long a simple token lives after its last use.
    pub auth_token_ttl: Duration,
    /// The cost of hashing a password, 4 to 31.
    pub bcrypt_cost: u32,
    /// Certificates for clients.
    pub client_tls: Option<TlsFiles>,
    /// Certificates for peers.
    pub peer_tls: Option<TlsFiles>,
    /// How often an idle watcher that asked for it hears how far it is.
    pub watch_progress_notify_interval: Duration,
    /// Refuse changes of membership that would cost the quorum.
    pub strict_reconfig_check: bool,
    /// The most learners.
    pub max_learners: usize,
}

impl Config {
    /// The settings of a cluster of one that listens on free ports of 127.0.0.1, for tests and embedding.
    pub fn alone(name: &str, data_dir: impl Into<PathBuf>) -> Self {
        let any: Vec<ServerUrl> = ServerUrl::list("http://127.0.0.1:0").unwrap_or_default();
        Self {
            name: name.to_owned(),
            data_dir: data_dir.into(),
            listen_client_urls: any.clone(),
            advertise_client_urls: any.clone(),
            listen_peer_urls: any.clone(),
            initial_advertise_peer_urls: any.clone(),
            listen_metrics_urls: Vec::new(),
            initial_cluster: InitialCluster::alone(name, &any),
            initial_cluster_token: revkeep_schemas::member::ids::DEFAULT_TOKEN.to_owned(),
            initial_cluster_state: ClusterState::New,
            quota_backend_bytes: 0,
            auto_compaction: None,
            snapshot_count: 100_000,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            max_request_bytes: 3 * 512 * 1024,
            max_txn_ops: 128,
            max_concurrent_streams: u32::MAX,
            keepalive_interval: Duration::from_secs(2 * 60 * 60),
            keepalive_timeout: Duration::from_secs(20),
            auth_token: "simple".to_owned(),
            auth_token_ttl: Duration::from_secs(300),
            bcrypt_cost: 10,
            client_tls: None,
            peer_tls: None,
            watch_progress_notify_interval: Duration::from_secs(600),
            strict_reconfig_check: true,
            max_learners: 1,
        }
    }

    /// The quota in bytes, or `None` for no bound.
    pub fn quota_bytes(&self) -> Option<u64> {
        match u64::try_from(self.quota_backend_bytes) {
            Ok(0) => Some(DEFAULT_QUOTA_BYTES),
            Ok(bytes) => Some(bytes),
            Err(_) => None,
        }
    }

    /// How long a proposal may take: five seconds for the disk and a slow network, and two elections
    /// (etcd, `server/config/config.go`, `ReqTimeout`).
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    /// Refuses settings that contradict each other.
    pub fn check(&self) -> Result<(), StoreError> {
        let refuse = |why: String| Err(StoreError::Config(why));
        if self.name.is_empty() {
            return refuse("--name: a member needs a name".to_owned());
        }
        if self.election_timeout < 5 * self.heartbeat_interval {
            return refuse(format!(
                "--election-timeout={} must be at least five times --heartbeat-interval={}",
                self.election_timeout.as_millis(),
                self.heartbeat_interval.as_millis()
            ));
        }
        if self.heartbeat_interval.is_zero() {
            return refuse("--heartbeat-interval must be more than 0".to_owned());
        }
        if self.election_timeout > LONGEST_ELECTION {
            return refuse(format!(
                "--election-timeout={} is too long: {} is the most",
                self.election_timeout.as_millis(),
                LONGEST_ELECTION.as_millis()
            ));
        }
        if !(4..=31).contains(&self.bcrypt_cost) {
            return refuse(format!("--bcrypt-cost={}: from 4 to 31", self.bcrypt_cost));
        }
        for (flag, urls, files) in [
            (
                "--listen-client-urls",
                &self.listen_client_urls,
                &self.client_tls,
            ),
            ("--listen-peer-urls", &self.listen_peer_urls, &self.peer_tls),
        ] {
            if urls.is_empty() {
                return refuse(format!("{flag}: at least one URL is needed"));
            }
            if let Some(url) = urls.iter().find(|url| url.tls() && files.is_none()) {
                return refuse(format!(
                    "{flag}={url}: https needs a certificate and its key"
                ));
            }
        }
        self.check_cluster()
    }

    fn check_cluster(&self) -> Result<(), StoreError> {
        let Some(listed) = self.initial_cluster.peer_urls(&self.name) else {
            return Err(StoreError::Config(format!(
                "--initial-cluster does not name this member, {:?} (--name)",
                self.name
            )));
        };
        let mut own = self.initial_advertise_peer_urls.clone();
        own.sort();
        if own != listed {
            let text = |urls: &[ServerUrl]| {
                urls.iter()
                    .map(ServerUrl::as_str)
                    .collect::<Vec<_>>()
                    .join(",")
            };
            return Err(StoreError::Config(format!(
                "--initial-cluster has {}={}, but --initial-advertise-peer-urls={}",
                self.name,
                text(listed),
                text(&own)
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        Config::alone("m", "m").check().unwrap();
    }

    #[test]
    fn contradictions_are_refused_by_the_flags_name() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::alone("m", "m");
            change(&mut config);
            config.check().unwrap_err().message()
        };
        assert!(
            refused(|c| c.heartbeat_interval = Duration::from_millis(300))
                .contains("--election-timeout=1000")
        );
        assert!(refused(|c| c.name = "other".to_owned()).contains("--initial-cluster"));
        assert!(refused(|c| c.bcrypt_cost = 3).contains("--bcrypt-cost=3"));
        assert!(
            refused(|c| c.listen_client_urls = ServerUrl::list("https://h:1").unwrap())
                .contains("https://h:1")
        );
    }

    #[test]
    fn a_quota_of_zero_is_etcds_default() {
        let mut config = Config::alone("m", "m");
        assert_eq!(config.quota_bytes(), Some(2 << 30));
        config.quota_backend_bytes = -1;
        assert_eq!(config.quota_bytes(), None);
    }
}
