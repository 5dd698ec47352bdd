//! Brings an etcd cluster back to any revision that a vault covers.
//!
//! Comes in: a vault, a cluster and a point in its history. Goes out: a member's data directory that etcd or the store boots from,
//! a snapshot file, keys of a live cluster as they were, or answers about the past; and a base made of an existing snapshot. Promises: the result is byte-equal to what the source held, is compared with what the source
//! reported (or says that it reported nothing), and appears whole or not at all. Never: overwrites a file, writes to the vault (but pins and what is imported), changes a
//! key that is not what it was when the plan was made, starts a server (but the demonstration, which does so in a folder of its own).
//! Read next: [`point`] finds the revision, [`plan`] decides, [`replay`] streams and proves, [`target`] puts it into place; [`past`]
//! reads without restoring, [`live`] writes into a live cluster.

pub mod around;
pub mod bump;
pub mod command;
pub mod demo;
pub mod drill;
pub mod error;
pub mod estimate;
pub mod execute;
pub mod facts;
pub mod import;
pub mod leases;
pub mod live;
mod members;
pub mod overlap;
pub mod past;
pub mod plan;
pub mod point;
pub mod prepare;
pub mod replay;
pub mod report;
pub mod source;
pub mod survey;
pub mod target;
mod timelines;
pub mod verify;

pub use error::{Kind, RestoreError};
