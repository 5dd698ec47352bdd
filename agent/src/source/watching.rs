//! A watch as the messages that capture understands.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{WatchClient, WatchOptions, WatchStream};
use revkeep_schemas::{Revision, kv::KeyValue};

use super::denied;
use crate::AgentError;
use crate::capture::joiner::Change;

/// One response of the server.
#[derive(Debug)]
pub enum Message {
    /// The watch exists.
    Created,
    /// Events, in order.
    Events {
        /// The changes.
        changes: Vec<Change>,
        /// The header's revision, no position: that of the last change as it happens, and where the source stands when it
        /// reads them out of its history (etcd, `server/storage/mvcc/watchable_store.go`).
        at: Revision,
        /// Whether the last transaction goes on in the next response.
        fragment: bool,
    },
    /// Everything up to this revision was sent.
    Progress(Revision),
    /// The watch is over: its next revision is compacted.
    Compacted {
        /// The source's compact revision.
        compact: Revision,
    },
}

/// An open watch.
#[derive(Debug)]
pub struct Watch {
    stream: WatchStream,
    endpoint: String,
    limit: usize,
}

/// How a watch is opened.
pub(super) struct Opening<'a> {
    pub(super) endpoint: &'a str,
    pub(super) timeout: Duration,
    /// The largest message that is taken, in bytes.
    pub(super) limit: usize,
}

impl Opening<'_> {
    /// Opens it from `first` on, for all keys or for one that is never there.
    pub(super) async fn open(
        self,
        client: WatchClient,
        first: Revision,
        all: bool,
    ) -> Result<Watch, AgentError> {
        let Self {
            endpoint,
            timeout,
            limit,
        } = self;
        let mut client = client.max_decoding_message_size(limit);
        let mut options = WatchOptions::new()
            .with_start_revision(first.0)
            .with_fragment();
        if all {
            options = options.with_range(b"\0".to_vec()).with_progress_notify();
        }
        let opening = client.watch(b"\0".to_vec(), Some(options));
        let stream = match tokio::time::timeout(timeout, opening).await {
            Ok(opened) => opened.map_err(failed(endpoint))?,
            Err(_) => {
                return Err(AgentError::Connect {
                    endpoint: endpoint.to_owned(),
                    reason: "no answer to watch".to_owned(),
                });
            }
        };
        Ok(Watch {
            stream,
            endpoint: endpoint.to_owned(),
            limit,
        })
    }
}

impl Watch {
    /// The next message. An error means that the watch is over.
    pub async fn next(&mut self) -> Result<Message, AgentError> {
        let response = self
            .stream
            .message()
            .await
            .map_err(|error| self.failed(error))?;
        let Some(response) = response else {
            return Err(self.over("the server closed the stream"));
        };
        self.message(response.0)
    }

    fn message(&self, response: PbWatchResponse) -> Result<Message, AgentError> {
        let header = response
            .header
            .map_or(Revision::ZERO, |header| Revision(header.revision));
        if response.canceled {
            if response.compact_revision > 0 {
                let compact = Revision(response.compact_revision);
                return Ok(Message::Compacted { compact });
            }
            return Err(self.over(&response.cancel_reason));
        }
        if response.created {
            return Ok(Message::Created);
        }
        if response.events.is_empty() {
            return Ok(Message::Progress(header));
        }
        let changes: Result<Vec<_>, _> = response
            .events
            .into_iter()
            .map(|event| change(event).ok_or_else(|| self.over("an event of an unknown kind")))
            .collect();
        Ok(Message::Events {
            changes: changes?,
            at: header,
            fragment: response.fragment,
        })
    }

    fn failed(&self, error: etcd_client::Error) -> AgentError {
        match &error {
            etcd_client::Error::GRpcStatus(status) if is_too_large(status) => {
                AgentError::Oversized { limit: self.limit }
            }
            _ => failed(&self.endpoint)(error),
        }
    }

    fn over(&self, reason: &str) -> AgentError {
        if let Some(denied) = denied::of_watch(&self.endpoint, reason) {
            return denied;
        }
        failed(&self.endpoint)(etcd_client::Error::WatchError(reason.to_owned()))
    }
}

fn failed(endpoint: &str) -> impl FnOnce(etcd_client::Error) -> AgentError {
    move |source| {
        denied::judge(endpoint, "watch", None, &source).unwrap_or_else(|| AgentError::Source {
            endpoint: endpoint.to_owned(),
            operation: "watch",
            source: Box::new(source),
        })
    }
}

/// Whether a message was larger than may be taken (tonic, `codec/decode.rs`).
fn is_too_large(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::OutOfRange
        && status
            .message()
            .contains("decoded message length too large")
}

/// An event as its row: a put's value is the event's `kv` marshalled, a delete's holds the key alone.
fn change(event: PbEvent) -> Option<Change> {
    const PUT: i32 = 0;
    const DELETE: i32 = 1;
    let kv = event.kv?;
    let row = KeyValue {
        key: &kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: &kv.value,
        lease: kv.lease,
    };
    let value = match event.r#type {
        PUT => row.encode(),
        DELETE => KeyValue::encode_tombstone(&kv.key),
        _ => return None,
    };
    Some(Change {
        main: Revision(kv.mod_revision),
        tombstone: event.r#type == DELETE,
        value: Bytes::from(value),
        lease: kv.lease,
    })
}
