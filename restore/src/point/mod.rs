//! From what a person asks for to one exact revision.
//!
//! Comes in: a revision, a time in words, the name of a pin, a key that was deleted, or nothing but "the latest". Goes
//! out: the revision, when the agents saw it, and what came after it. Promises: a time resolves to the newest revision
//! that was seen by then, never to a later one. Never: a guess where the vault knows nothing.
//! Read next: [`Wanted`], [`resolve`], and `words.rs` for how times are written.

mod after;
mod before_delete;
mod doubt;
mod resolve;
mod seen;
mod wanted;
mod words;

pub use after::After;
pub use doubt::Doubt;
pub use resolve::{Point, Resolved, describe, find, resolve};
pub(crate) use resolve::{pin_record, time, within};
pub use seen::{Seen, Spans, noted, revision_at, seen};
pub use wanted::Wanted;
pub use words::{Moment, duration, moment};
