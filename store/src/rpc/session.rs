//! What elections and locks are made of: keys under a prefix, each on a lease, the oldest of them in front (etcd,
//! `client/v3/concurrency`).

use std::sync::Arc;

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use revkeep_schemas::etcd_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request;
use revkeep_schemas::etcd_api::etcdserverpb::response_op::Response;
use revkeep_schemas::etcd_api::mvccpb::{Event, KeyValue, event::EventType};

use tonic::Status;

use super::engine::Engine;
use super::identity::Credentials;
use crate::error::{Result, StoreError};

/// The lease of a session that was given none, in seconds (etcd, `concurrency/session.go`).
const SESSION_TTL_S: i64 = 60;

/// An error as these services send it: etcd's go through its own client, which keeps the text and loses the code.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what errors are mapped with"
)]
pub(super) fn as_unknown(error: StoreError) -> Status {
    Status::unknown(error.message())
}

/// One client's part in an election or in the queue for a lock.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) credentials: Credentials,
}

impl Session {
    pub(super) fn of<T>(engine: &Arc<Engine>, request: &tonic::Request<T>) -> Self {
        Self {
            engine: Arc::clone(engine),
            credentials: Credentials::of(request),
        }
    }

    /// The lease given, or a new one.
    pub(super) async fn lease(&self, given: i64) -> Result<i64> {
        if given != 0 {
            return Ok(given);
        }
        let request = api::LeaseGrantRequest {
            ttl: SESSION_TTL_S,
            id: 0,
        };
        let caller = self.engine.caller_of(&self.credentials).await?;
        Ok(self.engine.lease_grant(caller, request).await?.id)
    }

    pub(super) async fn get(&self, request: api::RangeRequest) -> Result<api::RangeResponse> {
        self.engine.range(&self.credentials, request).await
    }

    pub(super) async fn txn(&self, request: api::TxnRequest) -> Result<api::TxnResponse> {
        Box::pin(self.engine.txn(&self.credentials, request)).await
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<api::DeleteRangeResponse> {
        let request = api::DeleteRangeRequest {
            key,
            ..api::DeleteRangeRequest::default()
        };
        self.engine.delete_range(&self.credentials, request).await
    }

    /// Waits until no key of the prefix that is older than `max_create_revision` is left.
    pub(super) async fn wait_for_elders(
        &self,
        prefix: &[u8],
        max_create_revision: i64,
    ) -> Result<()> {
        loop {
            let found = self
                .get(api::RangeRequest {
                    max_create_revision,
                    ..one_by_creation(prefix, SortOrder::Descend)
                })
                .await?;
            let Some(elder) = found.kvs.into_iter().next() else {
                return Ok(());
            };
            let revision = found.header.map_or(0, |header| header.revision);
            let mut events = self.watch(elder.key, Bytes::new(), revision).await;
            while events.next().await?.r#type() != EventType::Delete {}
        }
    }

    /// The changes of a range from a revision on.
    pub(super) async fn watch(&self, key: Bytes, range_end: Bytes, start_revision: i64) -> Changes {
        let (stream, receiver) = self.engine.shared().watchers.stream();
        stream
            .create(api::WatchCreateRequest {
                key,
                range_end,
                start_revision,
                ..api::WatchCreateRequest::default()
            })
            .await;
        Changes {
            receiver,
            _stream: stream,
            events: Vec::new().into_iter(),
        }
    }
}

/// Changes, one by one.
pub(super) struct Changes {
    receiver: crate::watch::WatchReceiver,
    _stream: crate::watch::WatchStream,
    events: std::vec::IntoIter<Event>,
}

impl Changes {
    pub(super) async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.events.next() {
                return Ok(event);
            }
            let answer = self.receiver.recv().await.ok_or(StoreError::Stopped)??;
            if answer.canceled {
                return Err(match answer.compact_revision {
                    0 => StoreError::WatchCanceled,
                    _ => StoreError::Compacted,
                });
            }
            self.events = answer.events.into_iter();
        }
    }
}

/// The key of a lease under a prefix.
pub(super) fn key_of(prefix: &[u8], lease: i64) -> Bytes {
    [prefix, format!("{lease:x}").as_bytes()].concat().into()
}

/// A name and a slash: what all keys of an election or lock begin with.
pub(super) fn prefix_of(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// One past the last key with a prefix.
pub(super) fn end_of(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

/// The oldest or the youngest key of a prefix.
pub(super) fn one_by_creation(prefix: &[u8], order: SortOrder) -> api::RangeRequest {
    api::RangeRequest {
        key: Bytes::copy_from_slice(prefix),
        range_end: end_of(prefix),
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        ..api::RangeRequest::default()
    }
}

/// That a key was created at a revision; 0 for a key that is not there.
pub(super) fn created_at(key: &Bytes, revision: i64) -> api::Compare {
    api::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

/// A read of one key, as an operation.
pub(super) fn get(request: api::RangeRequest) -> api::RequestOp {
    api::RequestOp {
        request: Some(Request::RequestRange(request)),
    }
}

/// A put on a lease, as an operation.
pub(super) fn put(key: Bytes, value: Bytes, lease: i64) -> api::RequestOp {
    api::RequestOp {
        request: Some(Request::RequestPut(api::PutRequest {
            key,
            value,
            lease,
            ..api::PutRequest::default()
        })),
    }
}

/// A deletion of one key, as an operation.
pub(super) fn delete(key: Bytes) -> api::RequestOp {
    api::RequestOp {
        request: Some(Request::RequestDeleteRange(api::DeleteRangeRequest {
            key,
            ..api::DeleteRangeRequest::default()
        })),
    }
}

/// A read of one key.
pub(super) fn one(key: Bytes) -> api::RangeRequest {
    api::RangeRequest {
        key,
        ..api::RangeRequest::default()
    }
}

/// The first key that operation `at` of a transaction has read.
pub(super) fn read_by(response: &api::TxnResponse, at: usize) -> Option<&KeyValue> {
    match response.responses.get(at)?.response.as_ref()? {
        Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_one() {
        assert_eq!(end_of(b"a/"), Bytes::from_static(b"a0"));
        assert_eq!(end_of(b"a\xff"), Bytes::from_static(b"b"));
        assert_eq!(end_of(b"\xff\xff"), Bytes::from_static(b"\0"));
    }
}
