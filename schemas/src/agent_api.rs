//! How a running agent is asked: its status, a flush, a base now.
//!
//! Generated from `proto/agent/*.proto`; with the features `client` and `server` the service too.

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

include!(concat!(env!("OUT_DIR"), "/agent/revkeep.agent.v1.rs"));

/// The API as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent_api.bin"));
