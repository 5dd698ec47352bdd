//! The checks of each kind of request.

use revkeep_schemas::etcd_api::etcdserverpb::range_request::SortTarget;
use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request;
use revkeep_schemas::etcd_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use super::overlap::check_overlap;
use crate::error::{Result, StoreError};

/// What etcd wraps around a request before it compares its size with `--max-request-bytes`: the header with the
/// request's id, and the request's own tag and length (etcd, `InternalRaftRequest`).
const WRAPPING_BYTES: usize = 18;

/// The size of a put or a transaction as `--max-request-bytes` counts it.
pub fn put_bytes(request: &impl prost::Message) -> usize {
    request.encoded_len().saturating_add(WRAPPING_BYTES)
}

/// A read must name a key, and a sort target that exists. An order that does not is none, as in etcd 3.5.
pub fn check_range(request: &RangeRequest) -> Result<()> {
    if request.key.is_empty() {
        return Err(StoreError::EmptyKey);
    }
    if SortTarget::try_from(request.sort_target).is_err() {
        return Err(StoreError::InvalidSortOption);
    }
    Ok(())
}

/// A put must name a key, and give neither a value nor a lease that it says to ignore.
pub fn check_put(request: &PutRequest) -> Result<()> {
    if request.key.is_empty() {
        Err(StoreError::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(StoreError::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(StoreError::LeaseProvided)
    } else {
        Ok(())
    }
}

/// A deletion must name a key.
pub fn check_delete(request: &DeleteRangeRequest) -> Result<()> {
    if request.key.is_empty() {
        return Err(StoreError::EmptyKey);
    }
    Ok(())
}

/// A transaction must have at most `max_ops` conditions and operations a branch, each of them whole, and no two writes
/// that meet. Inner transactions share what the outer one leaves of `max_ops`.
pub fn check_txn(request: &TxnRequest, max_ops: usize) -> Result<()> {
    check_shape(request, max_ops)?;
    check_overlap(&request.success)?;
    check_overlap(&request.failure)
}

fn check_shape(request: &TxnRequest, max_ops: usize) -> Result<()> {
    let most = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let left = max_ops.checked_sub(most).ok_or(StoreError::TooManyOps)?;
    if request
        .compare
        .iter()
        .any(|condition| condition.key.is_empty())
    {
        return Err(StoreError::EmptyKey);
    }
    request
        .success
        .iter()
        .chain(&request.failure)
        .try_for_each(|operation| check_operation(operation, left))
}

fn check_operation(operation: &RequestOp, max_ops: usize) -> Result<()> {
    match &operation.request {
        Some(Request::RequestRange(request)) => check_range(request),
        Some(Request::RequestPut(request)) => check_put(request),
        Some(Request::RequestDeleteRange(request)) => check_delete(request),
        Some(Request::RequestTxn(request)) => check_shape(request, max_ops),
        // An empty operation; the answer is etcd's.
        None => Err(StoreError::KeyNotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: key.into(),
                ..PutRequest::default()
            })),
        }
    }

    #[test]
    fn operations_are_counted_by_the_longest_list_and_shared_with_inner_ones() {
        let many = |count| TxnRequest {
            success: vec![
                RequestOp {
                    request: Some(Request::RequestRange(RangeRequest {
                        key: "k".into(),
                        ..RangeRequest::default()
                    }))
                };
                count
            ],
            ..TxnRequest::default()
        };
        assert!(check_txn(&many(3), 3).is_ok());
        assert!(matches!(
            check_txn(&many(4), 3),
            Err(StoreError::TooManyOps)
        ));
        let nested = |count| TxnRequest {
            success: vec![RequestOp {
                request: Some(Request::RequestTxn(many(count))),
            }],
            ..TxnRequest::default()
        };
        assert!(check_txn(&nested(2), 3).is_ok());
        assert!(matches!(
            check_txn(&nested(3), 3),
            Err(StoreError::TooManyOps)
        ));
    }

    #[test]
    fn an_empty_operation_is_a_missing_key() {
        let request = TxnRequest {
            success: vec![put("a"), RequestOp { request: None }],
            ..TxnRequest::default()
        };
        assert!(matches!(
            check_txn(&request, 9),
            Err(StoreError::KeyNotFound)
        ));
    }

    #[test]
    fn what_is_ignored_must_not_be_given() {
        let request = PutRequest {
            key: "k".into(),
            value: "v".into(),
            lease: 1,
            ignore_lease: true,
            ..PutRequest::default()
        };
        assert!(matches!(
            check_put(&request),
            Err(StoreError::LeaseProvided)
        ));
        let request = PutRequest {
            ignore_value: true,
            ..request
        };
        assert!(matches!(
            check_put(&request),
            Err(StoreError::ValueProvided)
        ));
    }
}
