//! Compaction, offline: which rows are left when etcd compacts at a revision, decided while rows stream by.
//!
//! Rows pass twice. The first pass shows every row above a floor to a [`LiveIndex`], the second asks [`Compaction`]
//! (or [`HashView`](crate::hashkv::HashView)) about each row. The floor is a revision at or below which the rows hold
//! each key once already, as after a compaction; so only keys touched since need memory.

mod index;
mod rule;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;

pub use index::{LiveIndex, MAX_POINTS};
pub use rule::Compaction;
