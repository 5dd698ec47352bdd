//! What is asked of both.

use revkeep_schemas::etcd_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, TxnRequest,
    WatchCreateRequest,
};

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(i64),
    KeepAlive(i64),
    /// Its time and its keys.
    Describe(i64),
    Leases,
    /// Waits until a short lease is gone.
    Expire(i64),
    HashKv(i64),
    /// Opens a watch under a number.
    Watch(usize, WatchCreateRequest),
    Cancel(usize),
    /// Reads every watch up to a revision.
    Catch(i64),
}
