//! Where a restore goes: built aside, verified, synced, and then moved into place in one step.

mod database;
mod key_path;
mod membership;
mod read_back;
mod staging;

pub use database::{Built, Contents, build_database};
pub use key_path::{key_of_path, path_of};
pub use membership::Membership;
pub use read_back::read_back;
pub(crate) use staging::sync_directory;
pub use staging::{Staging, refuse_unless_free};
