//! Whatever is done to whichever object of a vault, a verification names it, once, and nothing else.
//!
//! `REVKEEP_CASES` draws more injections, and `REVKEEP_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "../world/clock.rs"]
mod clock;
mod every_injection;
mod everything_in_it;
mod until_it_was_told;
mod what_is_gone;
mod what_is_read;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "../world/mod.rs"]
mod world;
