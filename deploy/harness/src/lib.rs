//! Real servers on loopback for the tests of every crate. Development only.
//!
//! In: the servers that `deploy/dev/setup` put into `.dev/`, and this workspace's own binaries.
//! Out: a running [`Etcd`] (one member or a cluster), a [`SeaweedFs`] with a bucket, a [`Postgres`], etcd's own tools ([`EtcdTool`]),
//! any other child as a [`Process`].
//! Promise: every server has its own folder and its own ports on 127.0.0.1, is healthy when `start` returns, and is gone
//! when its value is dropped; only a child's own process id is ever signalled.
//! Never: reaches another machine, touches an etcd that it did not start, hides that a server is missing.
//! Next: [`etcd_versions`] and [`Etcd::start`].

mod azurite;
mod binary;
mod certificates;
mod dev;
mod etcd;
pub mod exact;
mod faulty;
mod gate;
mod gcs;
pub mod http;
mod port;
mod postgres;
mod process;
pub mod product;
mod s3;
mod stormy;
pub mod truth;
pub mod workload;

pub use azurite::Azurite;
pub use binary::binary;
pub use certificates::Certificates;
pub use dev::{dev_dir, workspace_root};
pub use etcd::cluster::EtcdCluster;
pub use etcd::options::EtcdOptions;
pub use etcd::server::{Etcd, HashKv};
pub use etcd::tool::EtcdTool;
pub use etcd::version::{EtcdVersion, base_etcd, etcd_series, etcd_versions, store};
pub use faulty::{Fault, FaultyStore, Request};
pub use gate::Gate;
pub use gcs::FakeGcs;
pub use port::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use s3::SeaweedFs;
pub use stormy::{StormyBucket, Weather};
