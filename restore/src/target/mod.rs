//! Where a restore goes: built aside, verified, synced, and then moved into place in one step.

mod database;
mod membership;
mod staging;

pub use database::{Built, Contents, build_database, read_back};
pub use membership::Membership;
pub use staging::{Staging, refuse_unless_free};
