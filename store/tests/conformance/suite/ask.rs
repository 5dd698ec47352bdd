//! Short ways to write requests and what is expected of them.

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::*;
use revkeep_schemas::etcd_api::mvccpb::{Event, KeyValue, event::EventType};

pub(crate) use revkeep_schemas::etcd_api::etcdserverpb::compare::{
    CompareResult, CompareTarget, TargetUnion,
};
pub(crate) use revkeep_schemas::etcd_api::etcdserverpb::range_request::{SortOrder, SortTarget};
pub(crate) use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request as Asked;
pub(crate) use revkeep_schemas::etcd_api::etcdserverpb::response_op::Response as Told;

/// Anything that can be a key or a value.
pub(crate) fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

/// Writes a key.
pub(crate) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> PutRequest {
    PutRequest {
        key: bytes(key),
        value: bytes(value),
        ..PutRequest::default()
    }
}

/// Reads a key.
pub(crate) fn get(key: impl AsRef<[u8]>) -> RangeRequest {
    RangeRequest {
        key: bytes(key),
        ..RangeRequest::default()
    }
}

/// Reads every key.
pub(crate) fn all() -> RangeRequest {
    get(b"\0").range(b"\0")
}

/// Deletes a key.
pub(crate) fn delete(key: impl AsRef<[u8]>) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: bytes(key),
        ..DeleteRangeRequest::default()
    }
}

/// Watches a key.
pub(crate) fn watch(key: impl AsRef<[u8]>) -> WatchCreateRequest {
    WatchCreateRequest {
        key: bytes(key),
        ..WatchCreateRequest::default()
    }
}

/// What can be about a range instead of one key.
pub(crate) trait Ranged: Sized {
    /// The same up to, and without, this key.
    fn range(self, end: impl AsRef<[u8]>) -> Self;
}

macro_rules! ranged {
    ($($request:ty),*) => {$(
        impl Ranged for $request {
            fn range(self, end: impl AsRef<[u8]>) -> Self {
                Self { range_end: bytes(end), ..self }
            }
        }
    )*};
}
ranged!(
    RangeRequest,
    DeleteRangeRequest,
    WatchCreateRequest,
    Compare
);

/// What can be done inside a transaction, or be its answer.
pub(crate) trait Op<T> {
    /// As an operation.
    fn op(self) -> T;
}

macro_rules! ops {
    ($($type:ty => $name:ident, $as:ident, $field:ident;)*) => {$(
        impl Op<$name> for $type {
            fn op(self) -> $name {
                $name { $field: Some($as(self)) }
            }
        }
    )*};
}
use Asked::{RequestDeleteRange, RequestPut, RequestRange, RequestTxn};
use Told::{ResponseDeleteRange, ResponsePut, ResponseRange, ResponseTxn};
ops! {
    RangeRequest => RequestOp, RequestRange, request;
    PutRequest => RequestOp, RequestPut, request;
    DeleteRangeRequest => RequestOp, RequestDeleteRange, request;
    TxnRequest => RequestOp, RequestTxn, request;
    RangeResponse => ResponseOp, ResponseRange, response;
    PutResponse => ResponseOp, ResponsePut, response;
    DeleteRangeResponse => ResponseOp, ResponseDeleteRange, response;
    TxnResponse => ResponseOp, ResponseTxn, response;
}

/// A condition on one key.
pub(crate) fn compare(key: impl AsRef<[u8]>, result: CompareResult, to: TargetUnion) -> Compare {
    let target = match to {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(key),
        target_union: Some(to),
        range_end: Bytes::new(),
    }
}

/// Whether the key exists.
pub(crate) fn exists(key: impl AsRef<[u8]>) -> Compare {
    compare(key, CompareResult::Greater, TargetUnion::Version(0))
}

/// A transaction without conditions.
pub(crate) fn txn(operations: impl IntoIterator<Item = RequestOp>) -> TxnRequest {
    TxnRequest {
        success: operations.into_iter().collect(),
        ..TxnRequest::default()
    }
}

/// A transaction.
pub(crate) fn txn_if(
    conditions: impl IntoIterator<Item = Compare>,
    then: impl IntoIterator<Item = RequestOp>,
    otherwise: impl IntoIterator<Item = RequestOp>,
) -> TxnRequest {
    TxnRequest {
        compare: conditions.into_iter().collect(),
        success: then.into_iter().collect(),
        failure: otherwise.into_iter().collect(),
    }
}

/// A key as it is read, with its create and mod revision and its version.
pub(crate) fn kv(
    key: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
    (create_revision, mod_revision, version): (i64, i64, i64),
) -> KeyValue {
    KeyValue {
        key: bytes(key),
        create_revision,
        mod_revision,
        version,
        value: bytes(value),
        lease: 0,
    }
}

/// The event of a put.
pub(crate) fn written(kv: KeyValue) -> Event {
    Event {
        r#type: EventType::Put.into(),
        kv: Some(kv),
        prev_kv: None,
    }
}

/// The event of a deletion.
pub(crate) fn deleted(key: impl AsRef<[u8]>, mod_revision: i64) -> Event {
    Event {
        r#type: EventType::Delete.into(),
        kv: Some(kv(key, "", (0, mod_revision, 0))),
        prev_kv: None,
    }
}
