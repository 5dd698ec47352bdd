//! What follows of the rows of a cluster: runs, coverage, holes, times.
//!
//! What was added alone changes little, and little is read for it. Where something left, or what segments hold is no longer
//! trusted, all of the timeline is gone through again. Both come to the same.

mod deleted;
mod runs;
mod timeline;
mod times;

pub(in crate::catalog) use deleted::deleted;
pub(super) use timeline::derive;
