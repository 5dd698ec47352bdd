//! Proof by replay: that the rows in a vault are those of the source.
//!
//! Comes in: a cluster whose objects were verified ([`revkeep_vault::verify`]). Goes out: which HashKV of the source the rows
//! give, and where they do not. Promises: every base is replayed alone, and every stretch of segments from the base before it
//! to the next, exactly as a restore does it, but for the writing. Never: a write.

mod deep;

pub use deep::{Contradiction, Deep, deep};
