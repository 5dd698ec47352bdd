//! The store answers as etcd does: side by side with a plain model in memory, through crashes, snapshots and
//! compactions; and side by side with a real etcd, answer by answer and hash by hash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says by panicking"
)]

mod exports;
mod model;
mod requests;
mod side_by_side;
mod with_model;
