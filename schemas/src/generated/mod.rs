//! What the build script makes of the protobuf files in `proto/`: one module a folder.

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

pub mod agent_api;
pub mod catalog_api;
pub mod etcd_api;
pub mod store_api;
