//! How a running agent is asked: its status, a flush, a base now.
//!
//! Generated from `proto/agent/*.proto`; with the features `client` and `server` the service too.

include!(concat!(env!("OUT_DIR"), "/agent/revkeep.agent.v1.rs"));

/// The API as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent_api.bin"));
