//! What the service is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::job::Job;
use crate::door::TlsFiles;
use crate::schedule::Schedule;

/// When a job is due.
#[derive(Clone, Debug)]
pub struct JobSchedule {
    /// The job.
    pub job: Job,
    /// Its schedule, in its time zone.
    pub schedule: Schedule,
}

/// How clusters are verified and drilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofOptions {
    /// The vault's URL, for drills.
    pub url: String,
    /// The folder of the ledgers; see [`crate::verify::Ledger`].
    pub ledger: PathBuf,
    /// Each byte is read once in this time, and new ones at once.
    pub period: Duration,
    /// Where etcd is, if drills boot it; otherwise they boot the store.
    pub etcd_bin: Option<PathBuf>,
}

/// How the service runs.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where it is asked.
    pub listen: SocketAddr,
    /// By TLS, with these files.
    pub tls: Option<TlsFiles>,
    /// A file with the token that callers must show: `authorization: Bearer …`.
    pub token_file: Option<PathBuf>,
    /// What is done when.
    pub schedules: Vec<JobSchedule>,
    /// Up to so much later than the schedule says, another time for each service.
    pub jitter: Duration,
    /// All names of a cluster are listed when they were listed longer ago than this.
    pub relist: Duration,
    /// How it is proved that clusters can be brought back.
    pub proofs: ProofOptions,
    /// The policy; without one nothing is deleted.
    pub policy: Option<PathBuf>,
}
