//! Capture: the watch as a contiguous sequence of whole revisions, in batches.

pub mod batch;
pub mod joiner;
mod session;

pub use session::{Capture, Ended};
