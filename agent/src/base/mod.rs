//! Bases: a snapshot is taken, proven, and written to the vault while capture goes on.

mod bridge;
mod driver;
mod hash;
mod spool;
mod take;
mod write;

pub use bridge::{Bridge, PATIENCE};
pub use driver::{Driver, Job, Reply};
pub use hash::HashPolicy;
pub use revkeep_schemas::snapshot::Position;
pub use spool::{Spooled, clean, spool};
pub use take::{Taken, take};
pub use write::write;
