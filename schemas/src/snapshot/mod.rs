//! From a snapshot file to a base.
//!
//! Comes in: a database file as a member sent it, opened. Goes out: where it stands, the rows that belong to its base, and
//! its other buckets. Promises: a compaction that the snapshot caught half way is finished as the server would have.
//! Never: more of it in memory than the keys that were touched since the last compaction. Read next: [`Position`], then
//! [`Normaliser`].

mod buckets;
mod normal;
mod rows;

pub use buckets::small_buckets;
pub use normal::{Normaliser, Position};
pub use rows::BaseRows;
