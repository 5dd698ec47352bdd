//! etcd's v3 API over gRPC (etcd, `server/etcdserver/api/v3rpc`).
//!
//! Comes in: gRPC calls, from clients and from the JSON gateway. Goes out: etcd's answers and errors, to the letter.
//! Promises: a request is checked before it costs anything; every answer says who gave it and how far it was; a stream ends
//! when its client goes away. Never: a decision about keys, which is [`mvcc`](crate::mvcc)'s, or about rights that counts,
//! which is made where the log is applied.
//! Read next: [`Engine`] for what requests come to, [`Grpc`] for how they arrive.

mod calls;
pub mod engine;
mod grpc;
mod identity;
mod leaderless;
mod services;
mod session;
mod snapshot;
pub mod validate;

pub use calls::{Calls, MethodKind};
pub use engine::{Caller, Engine, EngineOptions};
pub use grpc::Grpc;
pub use identity::{CertificateName, Credentials};
