//! A watch says what a real etcd says, answer by answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says by panicking"
)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use revkeep_harness::{Etcd, etcd_series};
use revkeep_schemas::etcd_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, ResponseHeader, TxnRequest,
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
    kv_client::KvClient, request_op, watch_client::WatchClient, watch_create_request::FilterType,
    watch_request::RequestUnion,
};
use revkeep_store::{
    backend::{Backend, BackendOptions, MemoryDisk},
    mvcc::{Mvcc, MvccOptions},
    watch::{WatchHub, WatchOptions, WatchReceiver, WatchStream},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// How long nothing comes before all has come. etcd looks after watchers of the past ten times a second.
const QUIET: Duration = Duration::from_millis(400);

/// Both under the same requests.
struct Pair {
    kv: KvClient<Channel>,
    asks: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    store: Arc<Mvcc>,
    hub: Arc<WatchHub>,
    stream: WatchStream,
    receiver: WatchReceiver,
}

impl Pair {
    /// Begins with a watcher: before the first answer the stream's call does not return.
    async fn start(etcd: &Etcd, first: WatchCreateRequest) -> Self {
        let channel = Channel::from_shared(etcd.endpoint()).unwrap();
        let channel = channel.connect().await.unwrap();
        let (asks, requests) = mpsc::channel(16);
        let mut client = WatchClient::new(channel.clone());
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(first.clone())),
        };
        asks.send(request).await.unwrap();
        let answers = client.watch(ReceiverStream::new(requests)).await.unwrap();
        let disk = Arc::new(MemoryDisk::new());
        let backend = Arc::new(Backend::open(disk, BackendOptions::default()).unwrap());
        let store = Mvcc::open(backend, MvccOptions::default()).unwrap();
        let hub = WatchHub::new(Arc::clone(&store) as _, WatchOptions::default());
        let (stream, receiver) = hub.stream();
        stream.create(first).await;
        Self {
            kv: KvClient::new(channel),
            asks,
            answers: answers.into_inner(),
            store,
            hub,
            stream,
            receiver,
        }
    }

    async fn put(&mut self, key: &str, value: &str) {
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        self.store.put(&request).unwrap();
        self.hub.publish(self.store.take_events());
        self.kv.put(request).await.unwrap();
    }

    async fn delete(&mut self, key: &str, range_end: &str) {
        let request = DeleteRangeRequest {
            key: key.to_owned().into(),
            range_end: range_end.to_owned().into(),
            prev_kv: false,
        };
        self.store.delete_range(&request).unwrap();
        self.hub.publish(self.store.take_events());
        self.kv.delete_range(request).await.unwrap();
    }

    async fn txn(&mut self, keys: &[&str]) {
        let put = |key: &&str| RequestOp {
            request: Some(request_op::Request::RequestPut(PutRequest {
                key: (*key).to_owned().into(),
                ..PutRequest::default()
            })),
        };
        let request = TxnRequest {
            success: keys.iter().map(put).collect(),
            ..TxnRequest::default()
        };
        self.store.txn(&request).unwrap();
        self.hub.publish(self.store.take_events());
        self.kv.txn(request).await.unwrap();
    }

    async fn compact(&mut self, revision: i64) {
        self.store.compact(revision).unwrap();
        let request = CompactionRequest {
            revision,
            physical: true,
        };
        self.kv.compact(request).await.unwrap();
    }

    async fn ask(&mut self, union: RequestUnion) {
        match union.clone() {
            RequestUnion::CreateRequest(request) => self.stream.create(request).await,
            RequestUnion::CancelRequest(request) => self.stream.cancel(request.watch_id).await,
            RequestUnion::ProgressRequest(_) => self.stream.request_progress(),
        }
        let request = WatchRequest {
            request_union: Some(union),
        };
        self.asks.send(request).await.unwrap();
    }

    async fn create(&mut self, request: WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request)).await;
    }

    async fn cancel(&mut self, watch_id: i64) {
        let request = WatchCancelRequest { watch_id };
        self.ask(RequestUnion::CancelRequest(request)).await;
    }

    /// Compares all that both say until they are quiet. Between watchers etcd has no order.
    async fn compare(&mut self, step: &str) -> Vec<WatchResponse> {
        let mut etcd = Vec::new();
        while let Ok(answer) = timeout(QUIET, self.answers.message()).await {
            let mut answer = answer.unwrap().unwrap();
            // Of the header only the revision is the hub's.
            answer.header = answer.header.map(|header| ResponseHeader {
                revision: header.revision,
                ..ResponseHeader::default()
            });
            etcd.push(answer);
        }
        let mut store = Vec::new();
        while let Ok(answer) = timeout(QUIET / 4, self.receiver.recv()).await {
            store.push(answer.unwrap().unwrap());
        }
        etcd.sort_by_key(|answer| answer.watch_id);
        store.sort_by_key(|answer| answer.watch_id);
        assert_eq!(store, etcd, "{step}");
        store
    }
}

fn on(key: &'static str, range_end: &'static str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: Bytes::from_static(key.as_bytes()),
        range_end: Bytes::from_static(range_end.as_bytes()),
        ..WatchCreateRequest::default()
    }
}

fn from(start_revision: i64, request: WatchCreateRequest) -> WatchCreateRequest {
    WatchCreateRequest {
        start_revision,
        ..request
    }
}

fn only(filter: FilterType, request: WatchCreateRequest) -> WatchCreateRequest {
    WatchCreateRequest {
        filters: vec![filter.into()],
        ..request
    }
}

#[tokio::test]
async fn answers_as_etcd_does() {
    let Some(version) = etcd_series(3, 5) else {
        return;
    };
    let mut etcd = Etcd::start(&version).await.unwrap();
    let mut pair = Pair::start(&etcd, on("a", "")).await;
    assert!(pair.compare("the first watcher").await[0].created);
    pair.put("a", "1").await;
    pair.put("b", "1").await;
    assert_eq!(pair.compare("one key").await.len(), 1);

    // From the past, with what was there before, and with an id of the client's.
    let mut with_previous = from(2, on("a", "c"));
    with_previous.prev_kv = true;
    with_previous.watch_id = 7;
    pair.create(with_previous).await;
    pair.create(on("", "\0")).await;
    pair.create(on("b", "\0")).await;
    pair.compare("watchers of the past, of all, from a key on")
        .await;
    pair.txn(&["a", "b", "c"]).await;
    pair.put("a", "2").await;
    pair.delete("a", "c").await;
    pair.put("a", "3").await;
    pair.compare("a transaction, puts and a deletion").await;

    let mut taken = on("x", "");
    taken.watch_id = 7;
    pair.create(taken).await;
    pair.create(on("b", "a")).await;
    pair.create(on("b", "b")).await;
    pair.create(from(-1, on("a", ""))).await;
    let refused = pair.compare("refusals").await;
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|answer| answer.canceled));

    pair.create(only(FilterType::Noput, from(1, on("a", ""))))
        .await;
    pair.create(only(FilterType::Nodelete, from(1, on("a", ""))))
        .await;
    pair.compare("filters on the past").await;
    pair.put("a", "4").await;
    pair.delete("a", "").await;
    pair.delete("a", "").await;
    pair.compare("filters on what comes").await;

    pair.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
        .await;
    assert_eq!(pair.compare("progress").await[0].watch_id, -1);
    let future = pair.store.revision() + 2;
    pair.create(from(future, on("f", ""))).await;
    pair.compare("a future watcher").await;
    pair.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
        .await;
    assert!(
        pair.compare("no progress beside a future watcher")
            .await
            .is_empty()
    );
    pair.put("f", "1").await;
    pair.put("f", "2").await;
    pair.put("f", "3").await;
    pair.compare("the future comes").await;
    pair.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
        .await;
    assert_eq!(pair.compare("progress again").await.len(), 1);

    pair.cancel(0).await;
    pair.cancel(99).await;
    pair.cancel(0).await;
    let cancelled = pair.compare("cancellations").await;
    assert_eq!(cancelled.len(), 1);
    pair.put("a", "5").await;
    pair.compare("nothing for the cancelled").await;

    pair.compact(6).await;
    let mut late = from(2, on("a", ""));
    late.watch_id = 50;
    pair.create(late.clone()).await;
    let answers = pair.compare("a compacted start").await;
    assert!(answers[0].created && answers[1].compact_revision == 6);
    // Its id stays taken until the client gives it back.
    pair.create(late.clone()).await;
    pair.compare("the id of a compacted watcher").await;
    pair.cancel(50).await;
    assert_eq!(pair.compare("it is given back").await.len(), 1);
    late.start_revision = 6;
    pair.create(late).await;
    pair.compare("at the compact revision").await;
    etcd.stop().await.unwrap();
}
