//! Capture: the watch as a contiguous sequence of whole revisions, in batches.

pub mod batch;
mod follow;
pub mod joiner;

pub use follow::{Capture, Wires};
