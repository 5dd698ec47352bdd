//! From batches to objects in the vault.

mod facts;
mod leftover;
mod queue;
mod seal;
mod upload;

pub use facts::{Facts, SegmentFacts};
pub(crate) use leftover::leftovers;
pub use queue::{Full, Held, QueueReceiver, QueueSender, Queued, bounded};
pub use upload::{Shipper, Shipping};
