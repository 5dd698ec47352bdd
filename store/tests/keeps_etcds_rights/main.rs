//! Users, roles and rights are etcd's: every answer the same as a real etcd's, and a database goes both ways with them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says by panicking"
)]

mod both_ways;
mod commands;
mod pair;
mod side_by_side;
