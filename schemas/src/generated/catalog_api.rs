//! How the catalog of a vault is asked.
//!
//! Generated from `proto/vault/*.proto`; with the features `client` and `server` the service too.

include!(concat!(env!("OUT_DIR"), "/vault/revkeep.catalog.v1.rs"));

/// The API as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/catalog_api.bin"));
