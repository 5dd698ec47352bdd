//! The catalog: an index of a vault in SQL, for questions about many clusters at once.
//!
//! Comes in: names and manifests of the vault, by [`Catalog::sync`] what is new since, by [`Catalog::rebuild`] all of it.
//! Goes out: what can be restored, when what was seen, how much is held, which clusters are worst off. Promises: a reader
//! sees each cluster as it was at one moment; however it was filled, the same vault gives the same content; what it says of
//! coverage is what [`Coverage::compute`](crate::Coverage::compute) says. Never: needed to restore; believed by anything
//! that deletes. It may be removed at any time.
//! Read next: [`Catalog`], then `schemas/migrations/` for the tables, then [`SyncOptions`].

mod database;
mod dump;
mod gaps;
mod marks;
mod open;
pub mod query;
mod sync;

pub use database::CatalogUrl;
pub use open::Catalog;
pub use sync::{SyncFailure, SyncOptions, SyncReport};
