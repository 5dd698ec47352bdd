//! `revkeep-vault serve`: answers what the catalog says, to those who may ask; does each piece of work once; ends in order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[path = "../world/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

mod answers;
mod claims;
mod proofs;
mod service;
mod who_is_let_in;
