//! Proof that what a cluster has in the vault can be read, and is what it claims to be.
//!
//! Comes in: a cluster, and a [`Ledger`] of what was seen before. Goes out: a [`Verification`], which names every object that
//! is missing, damaged or in the place of another, once, and the revisions that cannot be brought back because of it.
//! Promises: an object counts as sound only when its identity, its hashes, its counts and its rows were compared; one that
//! looks damaged is read again first; one that agents write or retention deletes meanwhile is no finding. Never: a write to
//! the vault; more objects in memory than [`VerifyOptions::memory_bytes`] allow.
//!
//! What no object points to can only be missed by whoever has seen it: a base whose segments lead past it, say. That is what
//! the ledger is for, also of a whole cluster ([`Ledger::clusters`]). Without one, such an absence is found where it leaves a hole or where the head, a pin or a base
//! claims otherwise.
//!
//! Read next: [`Cluster::verify`](crate::Cluster::verify), `claims.rs` for what is compared with what.

mod claims;
mod finding;
mod identify;
mod ledger;
mod place;
mod prove;
mod receipt;
mod run;
mod swept;

pub use finding::{Finding, Lost, Verification, Wrong};
pub use ledger::Ledger;
pub use receipt::Replayed;
pub use run::{Depth, VerifyOptions};
