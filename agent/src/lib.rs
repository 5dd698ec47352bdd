//! The sidecar that captures an etcd cluster.
//!
//! Comes in: one member's snapshots and its watch over all keys. Goes out: bases and segments in the vault. Promises:
//! rows byte for byte as etcd wrote them, no revision missing without a recorded gap, and nothing called durable that
//! the object store has not acknowledged. Never: a write to etcd, a lock, memory or disk without a bound.
//! Read next: [`capture::joiner`] for how events become rows, [`base`] for snapshots, [`spool`] for outages of the store,
//! [`run()`] for how it fits together.

mod backoff;
pub mod base;
pub mod capture;
pub mod check;
pub mod command;
pub mod config;
mod error;
pub mod gap;
pub mod head;
pub mod lease;
pub mod lineage;
pub mod maintenance;
mod open;
mod proof;
mod remembered;
mod run;
mod session;
pub mod ship;
pub mod source;
pub mod spool;
mod state_dir;
pub mod status;
mod target;
#[cfg(test)]
mod testing;
pub mod turn;

pub use error::AgentError;
pub use proof::Proof;
pub use revkeep_vault::schedule::Schedule;
pub use run::{Route, RunOptions, run, snapshot};
pub use target::Target;
