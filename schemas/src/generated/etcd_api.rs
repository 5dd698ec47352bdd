//! etcd's v3 API: messages, and with the features `client` and `server` the services.
//!
//! Generated from `proto/etcd/*.proto`, which hold the names and numbers of etcd 3.7 (etcd,
//! `api/etcdserverpb/rpc.proto` and what it imports). Older servers leave newer fields out and ignore what they do not
//! know, so the same types speak with 3.4 to 3.7. A test compares them with a listing of etcd's own descriptors.
//!
//! `bytes` fields are [`bytes::Bytes`], so a decoded message shares the buffer that it came in. The default limit of
//! tonic for a decoded message is 4 MiB; watches and snapshots of etcd need more (see
//! `max_decoding_message_size` of a client).
//!
//! Rust names follow prost's rules: `peerURLs` is `peer_ur_ls`, `ID` is `id`, `dbSizeInUse` is `db_size_in_use`.

/// Rows and events.
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Users, roles and rights.
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// Leases on disk.
pub mod leasepb {
    include!(concat!(env!("OUT_DIR"), "/leasepb.rs"));
}

/// The services KV, Watch, Lease, Cluster, Maintenance and Auth.
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// The service Election.
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// The service Lock.
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// All of the above as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd_api.bin"));
