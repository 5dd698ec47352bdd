//! Members of etcd or of the store as real processes on loopback, for the demonstration and for drills.
//!
//! Comes in: a program and places. Goes out: a cluster that has a leader. Promises: every process is ended by its own id, at the
//! latest when it is dropped. Never: a process that somebody else started, an address other than 127.0.0.1.

mod cluster;
mod processes;

pub(crate) use cluster::{Cluster, Kind, Place, READY, connect, failed, initial_cluster, places};
pub(crate) use processes::{Process, find, output, typed};
