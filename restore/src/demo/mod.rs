//! `revkeep demo`: the whole product in one temporary folder, narrated.
//!
//! Three members, an agent and a vault are started as real processes of the sibling binaries; a workload that looks like
//! Kubernetes runs; a namespace is deleted by mistake and the leader is killed; the cluster is restored to the revision
//! before, booted, and its HashKV compared with what the source said. Nothing outside the folder is touched and every
//! process is ended by its own id.

mod kubernetes;
mod narrator;
mod options;
mod proof;
mod story;
mod workload;

pub use options::Options;
pub use story::tell;
