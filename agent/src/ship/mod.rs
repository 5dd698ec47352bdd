//! From batches to objects in the vault.

mod facts;
mod leftover;
mod pace;
mod queue;
mod seal;
mod shipper;
mod uploader;

pub use facts::{Facts, SegmentFacts};
pub(crate) use leftover::leftovers;
pub use queue::{Full, Held, QueueReceiver, QueueSender, Queued, bounded};
pub use shipper::{Shipper, Shipping};
