//! The catalog: it says what the vault holds, however it was filled; it can be lost; and what is wrong is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test fails by a panic"
)]

mod databases;
mod heads_tell_enough;
mod history;
mod rebuilt_is_the_same;
mod refuses_with_a_reason;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../world/mod.rs"]
mod rows;
mod says_what_the_vault_holds;
mod survives_what_happens;
mod worst_first;
