//! What a member says over plain HTTP, on the same port as gRPC: the JSON gateway, health, version, metrics.
//!
//! Comes in: HTTP/1.1 and HTTP/2 requests. Goes out: etcd's answers, byte for byte where scripts read them. gRPC calls are
//! passed on untouched.

mod front;
pub mod gateway;
mod health;
mod metrics;
mod version;

pub use front::Front;
pub use metrics::Metrics;
