//! One member: its settings, its listeners, and how it is put together.

mod config;

pub use config::{AutoCompaction, ClusterState, Config, InitialCluster, ServerUrl, TlsFiles};
