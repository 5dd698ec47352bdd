//! What a member is told about consensus.

use std::{path::PathBuf, time::Duration};

/// What a member is told about consensus. The defaults are etcd's where etcd has the setting.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// The cluster's id; every call between members carries it.
    pub cluster_id: u64,
    /// This member's id.
    pub member_id: u64,
    /// How often a leader says that it lives (etcd's `--heartbeat-interval`); in fact no more than four times in an
    /// election's time, because the same setting of the library limits a follower's sync.
    pub heartbeat: Duration,
    /// How long a follower waits for the leader before it stands for election (etcd's `--election-timeout`).
    pub election: Duration,
    /// The largest command, encoded (etcd's `--max-request-bytes`); a larger one is refused.
    pub max_request_bytes: usize,
    /// Refuses a change of the members that would cost the cluster its majority (etcd's `--strict-reconfig-check`).
    pub strict_reconfig_check: bool,
    /// How many learners there may be (etcd's `--max-learners`).
    pub max_learners: usize,
    /// How many applied entries the log keeps for members that lag (etcd keeps 5,000).
    pub keep_entries: u64,
    /// How many bytes of applied entries the log keeps at most, however few entries these are.
    pub keep_bytes: u64,
    /// How often the state machine is asked to flush; `None` when somebody else does.
    pub flush_interval: Option<Duration>,
    /// Where snapshots from the leader are received. Emptied of leftovers at the start.
    pub scratch: PathBuf,
    /// Decides the random waits of elections and the ids of proposals. Different for every member and start; a
    /// simulation derives it from its own seed.
    pub seed: u64,
}

impl RaftConfig {
    /// The defaults for a member.
    pub fn new(cluster_id: u64, member_id: u64, scratch: impl Into<PathBuf>) -> Self {
        Self {
            cluster_id,
            member_id,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_secs(1),
            max_request_bytes: 1_572_864,
            strict_reconfig_check: true,
            max_learners: 1,
            keep_entries: 5_000,
            keep_bytes: 128 * 1024 * 1024,
            flush_interval: Some(Duration::from_millis(100)),
            scratch: scratch.into(),
            seed: rand::random(),
        }
    }

    /// How long a request may take: five seconds for the disk and twice an election's time (etcd,
    /// `server/config/config.go`, `ReqTimeout`).
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + self.election * 2
    }
}
