//! What requests come to, whichever way they came: over gRPC, as JSON, from the store itself.
//!
//! A write is proposed and answered when this member has applied it; a read waits for the read index, unless it is
//! serializable, and is answered locally (etcd, `server/etcdserver/v3_server.go`).

mod auth;
mod cluster;
mod compaction;
mod core;
mod downgrade;
mod header;
mod lease;
mod maintenance;
mod read;
mod write;

pub use core::{Caller, Engine, EngineOptions};
