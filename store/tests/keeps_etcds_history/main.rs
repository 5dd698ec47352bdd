//! The store answers as etcd does: side by side with a plain model in memory, through crashes, snapshots and
//! compactions; and side by side with a real etcd, answer by answer and hash by hash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::unnecessary_wraps,
    clippy::print_stdout,
    reason = "a test says by panicking, and its numbers are small"
)]

mod exports;
mod model;
mod requests;
mod side_by_side;
mod with_model;
