//! What the members of the replicated store say to each other and keep in their logs.
//!
//! Generated from `proto/store/*.proto`; with the features `client` and `server` the services too.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::large_futures,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "generated: documented in the protobuf files, and shaped by prost and tonic"
)]

include!(concat!(env!("OUT_DIR"), "/store/revkeep.store.v1.rs"));
