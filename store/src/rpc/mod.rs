//! etcd's v3 API over gRPC (etcd, `server/etcdserver/api/v3rpc`).

pub mod validate;
