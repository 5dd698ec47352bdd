//! Undo under fire: a prefix of a live cluster becomes what it was, no write of anybody else is lost, and every conflict is told.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod by_the_command;
mod by_the_library;
mod cluster;
