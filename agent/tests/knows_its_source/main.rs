//! The promise: what is in a timeline is one history. A source that is another one than was captured is recognised by its
//! content, whatever its ids say, and gets a timeline of its own; a member that has diverged gets none.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that looks beyond the end fails, as it should"
)]

mod diverged;
mod forced;
mod old_home;
mod replaced;
#[path = "../rows/mod.rs"]
mod rows;
mod stranded;
mod tree;
mod world;
