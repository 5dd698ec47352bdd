//! How a member is set up: etcd's settings under etcd's names.

mod cluster;
mod compaction;
mod settings;
mod tls;
mod url;

pub use cluster::{ClusterState, InitialCluster};
pub use compaction::AutoCompaction;
pub use settings::Config;
pub use tls::TlsFiles;
pub use url::ServerUrl;
