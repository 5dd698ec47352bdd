//! Object lock: what has a date is what kept points need, dates are renewed, and none is ever made earlier.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test fails by a panic"
)]

#[path = "../world/clock.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod clock;
#[path = "../world/dates.rs"]
mod dates;
mod growing;
mod renewals;
mod single_failures;
mod while_something_is_damaged;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../world/mod.rs"]
mod world;
