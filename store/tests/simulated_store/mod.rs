//! The whole store in a simulated world: members put together as in production, clients that speak gRPC to them, and
//! everything between them and below them from one seed.
//!
//! A [`run`] starts the members, lets clients work and things go wrong, heals, waits until all members and watchers are
//! at one revision, and judges what clients saw by replaying the events of every revision. [`Processes`] lets the same
//! clients and the same judge at members that are processes.

#![allow(dead_code, reason = "each test file uses its part of the harness")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::needless_pass_by_value,
    clippy::redundant_closure_for_method_calls,
    reason = "a test that fails says where; its numbers are small"
)]
#![allow(
    unreachable_pub,
    reason = "a harness shared by several test programs, each a crate of its own"
)]

mod admin;
mod audit;
mod client;
mod judge;
mod member;
mod network;
mod processes;
mod record;
mod replay;
mod run;
mod watcher;
mod weather;
mod world;

#[allow(unused_imports, reason = "each test file uses its part of the harness")]
pub use processes::Processes;
#[allow(unused_imports, reason = "each test file uses its part of the harness")]
pub use run::{Options, Outcome, run};
