use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchResponse};
use revkeep_schemas::etcd_api::mvccpb::{Event, KeyValue};
use tokio::time::timeout;

use super::{History, WatchHub, WatchOptions, WatchReceiver};
use crate::StoreError;
use crate::backend::{Backend, BackendOptions, MemoryDisk};
use crate::executor::Executor;
use crate::mvcc::{EventPage, Mvcc, MvccOptions, RevisionEvents};

fn store() -> (Arc<Mvcc>, Arc<WatchHub>) {
    let disk = Arc::new(MemoryDisk::new());
    let backend = Arc::new(Backend::open(disk, BackendOptions::default()).unwrap());
    let mvcc = Mvcc::open(backend, MvccOptions::default()).unwrap();
    let options = WatchOptions {
        executor: Executor::Inline,
        ..WatchOptions::default()
    };
    let hub = WatchHub::new(Arc::clone(&mvcc) as _, options);
    (mvcc, hub)
}

fn put(mvcc: &Mvcc, hub: &WatchHub, key: &str, value: usize) {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: vec![b'v'; value].into(),
        ..PutRequest::default()
    };
    mvcc.put(&request).unwrap();
    hub.publish(mvcc.take_events());
}

fn on(key: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

async fn next(receiver: &mut WatchReceiver) -> WatchResponse {
    timeout(Duration::from_secs(5), receiver.recv())
        .await
        .expect("an answer")
        .unwrap()
        .unwrap()
}

async fn nothing(receiver: &mut WatchReceiver) {
    let answer = timeout(Duration::from_millis(500), receiver.recv()).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn ids_are_given_and_taken_as_etcd_does() {
    let (_, hub) = store();
    let (stream, mut receiver) = hub.stream();
    let chosen = |id| WatchCreateRequest {
        watch_id: id,
        ..on("a")
    };
    let mut ids = Vec::new();
    for request in [on("a"), chosen(1), on("a"), chosen(-7)] {
        stream.create(request).await;
        let answer = next(&mut receiver).await;
        assert!(answer.created && !answer.canceled);
        ids.push(answer.watch_id);
    }
    assert_eq!(ids, [0, 1, 2, -7]);
    stream.create(chosen(1)).await;
    let answer = next(&mut receiver).await;
    assert!(answer.created && answer.canceled);
    assert_eq!(answer.watch_id, -1);
    assert_eq!(
        answer.cancel_reason,
        "mvcc: duplicate watch ID provided on the WatchStream"
    );
    // A closed one leaves its id.
    stream.cancel(1).await;
    let answer = next(&mut receiver).await;
    assert!(answer.canceled && !answer.created);
    assert_eq!((answer.watch_id, answer.cancel_reason.as_str()), (1, ""));
    stream.create(chosen(1)).await;
    assert!(!next(&mut receiver).await.canceled);
    // Of an unknown one nothing is said.
    stream.cancel(99).await;
    nothing(&mut receiver).await;
}

#[tokio::test(start_paused = true)]
async fn a_compacted_start_is_created_and_then_cancelled() {
    let (mvcc, hub) = store();
    for _ in 0..5 {
        put(&mvcc, &hub, "a", 1);
    }
    mvcc.compact(4).unwrap();
    let (stream, mut receiver) = hub.stream();
    let from = |revision| WatchCreateRequest {
        start_revision: revision,
        ..on("a")
    };
    stream.create(from(3)).await;
    assert!(next(&mut receiver).await.created);
    let answer = next(&mut receiver).await;
    assert!(answer.canceled && !answer.created);
    assert_eq!(answer.compact_revision, 4);
    assert_eq!(answer.cancel_reason, "");
    assert_eq!(answer.header.unwrap().revision, 0);
    // At the compact revision itself everything is there.
    stream.create(from(4)).await;
    assert!(next(&mut receiver).await.created);
    assert_eq!(next(&mut receiver).await.events.len(), 3);
    // A negative one is refused at once.
    stream.create(from(-1)).await;
    let answer = next(&mut receiver).await;
    assert!(answer.created && answer.canceled);
    assert_eq!(
        answer.cancel_reason,
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[tokio::test(start_paused = true)]
async fn a_future_start_waits() {
    let (mvcc, hub) = store();
    let (stream, mut receiver) = hub.stream();
    stream
        .create(WatchCreateRequest {
            start_revision: 4,
            ..on("a")
        })
        .await;
    next(&mut receiver).await;
    put(&mvcc, &hub, "a", 1);
    put(&mvcc, &hub, "a", 1);
    stream.request_progress();
    hub.resync();
    nothing(&mut receiver).await;
    put(&mvcc, &hub, "a", 1);
    let answer = next(&mut receiver).await;
    assert_eq!(answer.events[0].kv.as_ref().unwrap().mod_revision, 4);
    stream.request_progress();
    let answer = next(&mut receiver).await;
    assert_eq!((answer.watch_id, answer.header.unwrap().revision), (-1, 4));
}

#[tokio::test(start_paused = true)]
async fn idle_watchers_that_asked_for_it_are_told_how_far_they_are() {
    let (mvcc, hub) = store();
    let (stream, mut receiver) = hub.stream();
    for request in [
        WatchCreateRequest {
            progress_notify: true,
            ..on("a")
        },
        on("a"),
    ] {
        stream.create(request).await;
        next(&mut receiver).await;
    }
    put(&mvcc, &hub, "other", 1);
    tokio::time::sleep(WatchOptions::PROGRESS_INTERVAL.mul_f64(1.2)).await;
    let answer = next(&mut receiver).await;
    assert_eq!((answer.watch_id, answer.header.unwrap().revision), (0, 2));
    assert!(answer.events.is_empty());
    nothing(&mut receiver).await;
    // Events are a sign of life too.
    put(&mvcc, &hub, "a", 1);
    assert_eq!(next(&mut receiver).await.events.len(), 1);
    assert_eq!(next(&mut receiver).await.events.len(), 1);
    tokio::time::sleep(WatchOptions::PROGRESS_INTERVAL.mul_f64(1.11)).await;
    nothing(&mut receiver).await;
    tokio::time::sleep(WatchOptions::PROGRESS_INTERVAL.mul_f64(1.11)).await;
    assert_eq!(next(&mut receiver).await.header.unwrap().revision, 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_costs_little_and_misses_nothing() {
    let (mvcc, hub) = store();
    let (stream, mut receiver) = hub.stream();
    stream.create(on("a")).await;
    next(&mut receiver).await;
    // 40 MiB of events for a client that does not read.
    for _ in 0..40 {
        put(&mvcc, &hub, "a", 1 << 20);
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.stats().slow_watchers, 1);
    let waiting: usize = receiver.waiting_bytes();
    assert!(waiting <= 6 << 20, "{waiting} bytes wait");
    let mut revision = 1;
    while revision < 41 {
        for event in next(&mut receiver).await.events {
            revision += 1;
            assert_eq!(event.kv.unwrap().mod_revision, revision);
        }
    }
    put(&mvcc, &hub, "a", 1);
    assert_eq!(next(&mut receiver).await.events.len(), 1);
    assert_eq!(hub.stats().slow_watchers, 0);
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_everything() {
    let (mvcc, hub) = store();
    let (stream, receiver) = hub.stream();
    for key in ["a", "b"] {
        stream.create(on(key)).await;
    }
    assert_eq!(hub.stats().watchers, 2);
    drop(receiver);
    assert_eq!(hub.stats(), super::WatchStats::default());
    put(&mvcc, &hub, "a", 1);
    stream.create(on("c")).await;
    stream.cancel(0).await;
    assert_eq!(hub.stats(), super::WatchStats::default());
}

/// A history on a disk that has gone bad.
struct Unreadable;

impl History for Unreadable {
    fn revision(&self) -> i64 {
        9
    }

    fn compact_revision(&self) -> i64 {
        0
    }

    fn events(&self, _: i64, _: usize, _: usize) -> crate::Result<EventPage> {
        Err(StoreError::damaged(
            "state.redb",
            "a row cannot be read".to_owned(),
        ))
    }

    fn value_at(&self, _: &Bytes, _: i64) -> crate::Result<Option<KeyValue>> {
        Err(StoreError::damaged(
            "state.redb",
            "a row cannot be read".to_owned(),
        ))
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let hub = WatchHub::new(Arc::new(Unreadable), WatchOptions::default());
    let (stream, mut receiver) = hub.stream();
    let past = WatchCreateRequest {
        start_revision: 2,
        ..on("key")
    };
    stream.create(past).await;
    assert!(next(&mut receiver).await.created);
    let cancelled = next(&mut receiver).await;
    assert!(cancelled.canceled, "{cancelled:?}");
    assert!(
        cancelled.cancel_reason.contains("state.redb"),
        "{cancelled:?}"
    );
    assert_eq!(cancelled.compact_revision, 0);

    let now = WatchCreateRequest {
        prev_kv: true,
        ..on("key")
    };
    stream.create(now).await;
    assert!(next(&mut receiver).await.created);
    let event = Event {
        kv: Some(KeyValue {
            key: "key".into(),
            create_revision: 3,
            mod_revision: 10,
            version: 2,
            ..KeyValue::default()
        }),
        ..Event::default()
    };
    hub.publish(vec![RevisionEvents {
        revision: 10,
        events: vec![event],
    }]);
    let answer = timeout(Duration::from_secs(5), receiver.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(answer.is_err(), "{answer:?}");
}
