//! From batches to objects in the vault.

mod facts;
mod queue;
mod seal;
mod upload;

pub use facts::{Facts, SegmentFacts};
pub use queue::{Full, Held, QueueReceiver, QueueSender, Queued, bounded};
pub use upload::{Shipper, Shipping};
