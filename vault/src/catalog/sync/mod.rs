//! Filling the catalog from the vault.
//!
//! A cluster is looked at in one of three ways. Its head is read: while neither timeline, base nor durable revision have
//! moved, nothing is listed. Where they have moved, only what sorts after the revisions that it named before is listed. And from time
//! to time, and whenever the head cannot be trusted to tell, all names are listed and compared with the known ones: what
//! is new is read, what is gone leaves. What was found is written in one transaction, on the condition that nobody has
//! changed the cluster since its known names were read.

mod apply;
mod cluster;
mod cluster_rows;
mod derive;
mod fleet;
mod found;
mod holes;
mod known;
mod listing;
mod read;
mod standing;
mod summary;
mod tables;
mod timeline_rows;

pub(super) use derive::deleted;
pub use fleet::{SyncFailure, SyncOptions, SyncReport};
pub(super) use holes::holes;
