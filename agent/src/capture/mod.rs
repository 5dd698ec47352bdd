//! Capture: the watch as a contiguous sequence of whole revisions, in batches.

pub mod batch;
mod follow;
mod following;
pub mod joiner;
mod prepare;

pub use follow::{Capture, Wires};
