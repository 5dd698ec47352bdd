//! Brings an etcd cluster back to any revision that a vault covers.
//!
//! Comes in: a vault, a cluster and a revision. Goes out: a member's data directory that etcd or the store boots from, or
//! a snapshot file. Promises: the result is byte-equal to what the source held, is compared with what the source
//! reported (or says that it reported nothing), and appears whole or not at all. Never: overwrites anything, writes to the vault, starts a server
//! (but the demonstration, which does so in a folder of its own).
//! Read next: [`plan`] decides, [`replay`] streams and proves, [`target`] puts it into place.

pub mod command;
pub mod demo;
pub mod error;
pub mod execute;
pub mod facts;
pub mod leases;
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

pub use error::{Kind, RestoreError};
