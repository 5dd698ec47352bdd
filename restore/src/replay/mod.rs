//! Streams rows from the vault into a db file and proves them.
//!
//! Comes in: batches of encoded rows, in order. Goes out: the rows of a db file, the HashKV of what was written, and
//! the leases that live in it. Promises: no revision is left out, and memory does not grow with the rows, only with
//! the keys touched after the base's compact revision, where anything was compacted, and with those that hold leases. Never: more than one batch at a time.
//! Read next: [`Sequence`], then [`Replay`].

mod feed;
mod fold;
mod holders;
mod proof;
mod sequence;

pub(crate) use feed::interrupted;
pub use feed::{Batch, Batches, Feed};
pub use fold::{Recipe, Replay, Replayed, index_rows};
pub use holders::LeaseHolders;
pub use proof::{Proof, comparable, proofs};
pub use sequence::Sequence;
