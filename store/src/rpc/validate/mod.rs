//! What a request must be before the store looks at it (etcd, `server/etcdserver/api/v3rpc/key.go`).

mod overlap;
mod request;

pub use request::{check_delete, check_put, check_range, check_txn, put_bytes};
