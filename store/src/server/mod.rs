//! One member: its settings, its listeners, and how it is put together.
//!
//! Comes in: settings. Goes out: a running [`Node`]. Promises: a member that cannot keep what it promised does not start,
//! and says which file it is about; one that stops leaves nothing to replay. Never: a setting that contradicts another, a
//! secret in the log.

mod config;
mod counted;
mod data;
mod duty;
mod founding;
mod listen;
mod node;
mod timed_disk;
mod tls;

pub use config::{AutoCompaction, ClusterState, Config, InitialCluster, ServerUrl, TlsFiles};
pub use counted::Operations;
pub use listen::{Accept, Listen};
pub use node::{Environment, Node, start_together};
pub use timed_disk::SyncTimes;
pub use tls::TlsDial;

/// The release of etcd whose API this is, as clients ask for it.
pub const API_VERSION: &str = "3.5.35";
