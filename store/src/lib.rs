//! The replicated store of this repository: a key-value store that serves etcd's v3 API.
//!
//! Comes in: etcd's v3 requests, over gRPC and as JSON. Goes out: etcd's v3 answers, and database files that `etcdutl` reads.
//! Promises: what was acknowledged is on the disks of a majority; revisions, versions and HashKV are those that etcd would
//! have given. Never: depends on the vault, the agent or the restore; they meet over etcd's API.
//! Read next: `mvcc` for what a revision is, `raft` for how members agree, `server` for how a member is put together.

pub mod alarm;
pub mod apply;
pub mod auth;
pub mod backend;
pub mod command;
pub mod error;
pub mod executor;
pub mod http;
pub mod lease;
pub mod members;
pub mod mvcc;
pub mod raft;
pub mod rpc;
pub mod server;
pub mod snapshot;
pub mod watch;

pub use error::{Result, StoreError};
