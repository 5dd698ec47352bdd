//! How large the database may grow.

use revkeep_schemas::etcd_api::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op};

/// About what a key costs besides key and value (etcd, `server/etcdserver/quota.go`).
const KEY_OVERHEAD: usize = 256;
/// About what a lease costs.
const LEASE_OVERHEAD: usize = 64;

/// The bound on the database's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// `None`: no bound.
    limit_bytes: Option<u64>,
}

impl Quota {
    /// etcd's default bound.
    pub const DEFAULT_BYTES: u64 = 2 << 30;

    /// The bound that `--quota-backend-bytes` asks for: 0 is the default, a negative number none.
    pub fn new(flag: i64) -> Self {
        let limit_bytes = match flag {
            0 => Some(Self::DEFAULT_BYTES),
            bytes => u64::try_from(bytes).ok(),
        };
        Self { limit_bytes }
    }

    /// The bound, if there is one.
    pub fn limit_bytes(self) -> Option<u64> {
        self.limit_bytes
    }

    /// Whether a request of this cost fits into a database of this size. What costs nothing always does.
    pub fn allows(self, size_bytes: u64, cost: usize) -> bool {
        cost == 0
            || self
                .limit_bytes
                .is_none_or(|limit| size_bytes + (cost as u64) < limit)
    }
}

/// What a put may add to the database.
pub fn put_cost(request: &PutRequest) -> usize {
    KEY_OVERHEAD + request.key.len() + request.value.len()
}

/// What a transaction may add: its dearer branch. Reads and deletions cost nothing.
pub fn txn_cost(request: &TxnRequest) -> usize {
    branch_cost(&request.success).max(branch_cost(&request.failure))
}

/// What a lease may add.
pub fn lease_cost() -> usize {
    LEASE_OVERHEAD
}

fn branch_cost(operations: &[RequestOp]) -> usize {
    let cost = |operation: &RequestOp| match &operation.request {
        Some(request_op::Request::RequestPut(put)) => put_cost(put),
        Some(request_op::Request::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    };
    operations.iter().map(cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: usize, value: usize) -> PutRequest {
        PutRequest {
            key: vec![b'k'; key].into(),
            value: vec![b'v'; value].into(),
            ..PutRequest::default()
        }
    }

    fn op(request: request_op::Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    #[test]
    fn the_dearer_branch_counts() {
        let one = op(request_op::Request::RequestPut(put(1, 2)));
        let inner = TxnRequest {
            failure: vec![one.clone(), one.clone()],
            ..TxnRequest::default()
        };
        let txn = TxnRequest {
            success: vec![one],
            failure: vec![op(request_op::Request::RequestTxn(inner))],
            ..TxnRequest::default()
        };
        assert_eq!(txn_cost(&txn), 2 * 259);
        assert_eq!(txn_cost(&TxnRequest::default()), 0);
    }

    #[test]
    fn the_flag_is_etcds() {
        assert_eq!(Quota::new(0).limit_bytes(), Some(2 << 30));
        assert_eq!(Quota::new(-1).limit_bytes(), None);
        let quota = Quota::new(1_000);
        assert!(quota.allows(700, 299));
        assert!(!quota.allows(700, 300));
        assert!(quota.allows(5_000, 0));
        assert!(Quota::new(-1).allows(u64::MAX / 2, 1 << 30));
    }
}
