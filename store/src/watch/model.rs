//! Random writers and watchers against a model: every watcher sees exactly the events of its range from its start on, in
//! order, or is cancelled because what it needs is compacted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use revkeep_schemas::etcd_api::etcdserverpb::watch_create_request::FilterType;
use revkeep_schemas::etcd_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchResponse,
    request_op,
};
use revkeep_schemas::etcd_api::mvccpb::{Event, KeyValue, event::EventType};
use tokio::time::timeout;

use super::{KeyRange, WatchHub, WatchOptions, WatchReceiver, WatchSpec, WatchStream};
use crate::backend::{Backend, BackendOptions, MemoryDisk, Position};
use crate::executor::Executor;
use crate::mvcc::{CompactionMode, Mvcc, MvccOptions};

const STREAMS: usize = 3;
const KEYS: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Burst(u8, u8),
    Delete(u8, u8),
    Txn(Vec<u8>),
    Create {
        stream: usize,
        range: (u8, u8),
        back: Option<u8>,
        filters: (bool, bool),
        prev_kv: bool,
        fragment: bool,
    },
    Cancel(usize, u8),
    Read(usize, u8),
    Progress(usize),
    Compact(u8),
    Resync,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    let stream = 0..STREAMS;
    prop_oneof![
        6 => key.clone().prop_map(Step::Put),
        2 => (key.clone(), 1_u8..40).prop_map(|(key, times)| Step::Burst(key, times)),
        2 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Delete(from, to)),
        2 => proptest::collection::vec(key.clone(), 1..4).prop_map(Step::Txn),
        4 => (
            stream.clone(), (key.clone(), 0..KEYS + 3), proptest::option::of(any::<u8>()),
            (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)),
            any::<bool>(), any::<bool>(),
        ).prop_map(|(stream, range, back, filters, prev_kv, fragment)| Step::Create {
            stream, range, back, filters, prev_kv, fragment,
        }),
        1 => (stream.clone(), any::<u8>()).prop_map(|(stream, which)| Step::Cancel(stream, which)),
        3 => (stream.clone(), 1_u8..20).prop_map(|(stream, count)| Step::Read(stream, count)),
        1 => stream.prop_map(Step::Progress),
        1 => (0_u8..30).prop_map(Step::Compact),
        1 => Just(Step::Resync),
    ]
}

fn key(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[b'a' + number])
}

/// What a client has seen of one watcher.
#[derive(Debug)]
struct Seen {
    spec: WatchSpec,
    start: i64,
    events: Vec<Event>,
    /// Whether the last answer goes on in the next.
    fragment: bool,
    /// The client asked for its end.
    cancelled: bool,
    /// The store ended it, with this compact revision.
    compacted: Option<i64>,
}

struct Client {
    stream: WatchStream,
    receiver: WatchReceiver,
    /// Requests whose answers have not come: what was asked, and where it starts.
    asked: Vec<(WatchSpec, i64)>,
    watchers: BTreeMap<i64, Seen>,
    /// Cancelled or compacted ones, whose ids may be used again.
    old: Vec<Seen>,
}

struct World {
    mvcc: Arc<Mvcc>,
    backend: Arc<Backend>,
    hub: Arc<WatchHub>,
    clients: Vec<Client>,
    /// Every event there ever was.
    history: Vec<Event>,
    index: u64,
}

fn revision(event: &Event) -> i64 {
    event.kv.as_ref().unwrap().mod_revision
}

impl World {
    fn new() -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let backend = Arc::new(Backend::open(disk, BackendOptions::default()).unwrap());
        let options = MvccOptions {
            compaction: CompactionMode::OnFlush,
            ..MvccOptions::default()
        };
        let mvcc = Mvcc::open(Arc::clone(&backend), options).unwrap();
        let hub = WatchHub::new(
            Arc::clone(&mvcc) as _,
            WatchOptions {
                queue_answers: 4,
                queue_bytes: 4 << 10,
                fragment_bytes: 150,
                executor: Executor::Inline,
                ..WatchOptions::default()
            },
        );
        let clients = (0..STREAMS)
            .map(|_| {
                let (stream, receiver) = hub.stream();
                Client {
                    stream,
                    receiver,
                    asked: Vec::new(),
                    watchers: BTreeMap::new(),
                    old: Vec::new(),
                }
            })
            .collect();
        Self {
            mvcc,
            backend,
            hub,
            clients,
            history: Vec::new(),
            index: 0,
        }
    }

    /// Ends a log entry as the applier does.
    fn end_entry(&mut self) {
        self.index += 1;
        self.backend
            .set_position(Position::new(1, self.index), None);
        let revisions = self.mvcc.take_events();
        for revision in &revisions {
            self.history.extend(revision.events.iter().cloned());
        }
        self.hub.publish(revisions);
    }

    fn put(&mut self, number: u8) {
        let request = PutRequest {
            key: key(number),
            value: vec![b'v'; usize::from(number) * 10].into(),
            ..PutRequest::default()
        };
        self.mvcc.put(&request).unwrap();
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Put(number) => {
                self.put(number);
                self.end_entry();
            }
            Step::Burst(number, times) => {
                // One entry of the log with many revisions.
                for _ in 0..times {
                    self.put(number);
                }
                self.end_entry();
            }
            Step::Delete(from, to) => {
                let request = DeleteRangeRequest {
                    key: key(from),
                    range_end: key(to),
                    ..DeleteRangeRequest::default()
                };
                self.mvcc.delete_range(&request).unwrap();
                self.end_entry();
            }
            Step::Txn(mut numbers) => {
                numbers.sort_unstable();
                numbers.dedup();
                let put = |number: &u8| RequestOp {
                    request: Some(request_op::Request::RequestPut(PutRequest {
                        key: key(*number),
                        ..PutRequest::default()
                    })),
                };
                let request = TxnRequest {
                    success: numbers.iter().map(put).collect(),
                    ..TxnRequest::default()
                };
                self.mvcc.txn(&request).unwrap();
                self.end_entry();
            }
            Step::Create { .. } => self.create(step).await,
            Step::Cancel(stream, which) => {
                let client = &mut self.clients[stream];
                let ids: Vec<_> = client.watchers.keys().copied().collect();
                if let Some(&id) = ids.get(usize::from(which) % ids.len().max(1)) {
                    self.act(stream, async |client| client.cancel(id).await)
                        .await;
                }
            }
            Step::Read(stream, count) => {
                for _ in 0..count {
                    self.read(stream).await;
                }
            }
            Step::Progress(stream) => self.clients[stream].stream.request_progress(),
            Step::Compact(back) => {
                let at = self.mvcc.revision() - i64::from(back);
                if at > self.mvcc.compact_revision().max(0) {
                    self.mvcc.compact(at).unwrap();
                    self.end_entry();
                    self.mvcc.flush().unwrap();
                }
            }
            Step::Resync => self.hub.resync(),
        }
    }

    async fn create(&mut self, step: Step) {
        let Step::Create {
            stream,
            range: (from, to),
            back,
            filters,
            prev_kv,
            fragment,
        } = step
        else {
            unreachable!()
        };
        let range_end = match to {
            to if to < KEYS => key(to),
            to if to == KEYS => Bytes::new(),
            _ => Bytes::from_static(&[0]),
        };
        let mut wanted = Vec::new();
        if filters.0 {
            wanted.push(FilterType::Noput as i32);
        }
        if filters.1 {
            wanted.push(FilterType::Nodelete as i32);
        }
        let start_revision = back.map_or(0, |back| {
            (self.mvcc.revision() + 3 - i64::from(back % 64)).max(1)
        });
        let request = WatchCreateRequest {
            key: key(from),
            range_end,
            start_revision,
            filters: wanted,
            prev_kv,
            fragment,
            ..WatchCreateRequest::default()
        };
        if let Some(spec) = WatchSpec::from_request(&request) {
            // 0 is what comes next; which revision that is, the answer tells.
            self.clients[stream].asked.push((spec, start_revision));
        }
        self.act(stream, async |client| client.create(request).await)
            .await;
    }

    /// Sends a request, and reads answers as long as it waits for room.
    async fn act(&mut self, stream: usize, request: impl AsyncFnOnce(&WatchStream)) {
        let client = &mut self.clients[stream];
        let (requests, receiver) = (&client.stream, &mut client.receiver);
        let mut answers = Vec::new();
        {
            let sent = request(requests);
            tokio::pin!(sent);
            loop {
                tokio::select! {
                    biased;
                    () = &mut sent => break,
                    answer = receiver.recv() => answers.push(answer.unwrap().unwrap()),
                }
            }
        }
        for answer in answers {
            self.see(stream, answer);
        }
    }

    /// Reads one answer if there is one.
    async fn read(&mut self, stream: usize) -> bool {
        let receiver = &mut self.clients[stream].receiver;
        match timeout(Duration::from_millis(200), receiver.recv()).await {
            Ok(answer) => {
                self.see(stream, answer.unwrap().unwrap());
                true
            }
            Err(_) => false,
        }
    }

    /// What a watcher should have been given of the events up to `last`.
    fn expected<'a>(&'a self, seen: &'a Seen, last: i64) -> impl Iterator<Item = &'a Event> {
        self.history.iter().filter(move |event| {
            let kv = event.kv.as_ref().unwrap();
            let kind = match event.r#type() {
                EventType::Put => !seen.spec.no_put,
                EventType::Delete => !seen.spec.no_delete,
            };
            kind && (seen.start..=last).contains(&kv.mod_revision)
                && seen.spec.range.contains(&kv.key)
        })
    }

    fn previous(&self, event: &Event) -> Option<&KeyValue> {
        let kv = event.kv.as_ref().unwrap();
        let earlier = self.history.iter().rev().find(|earlier| {
            revision(earlier) < kv.mod_revision && earlier.kv.as_ref().unwrap().key == kv.key
        })?;
        let is_put = earlier.r#type() == EventType::Put;
        earlier.kv.as_ref().filter(|_| is_put)
    }

    fn see(&mut self, stream: usize, answer: WatchResponse) {
        let current = self.mvcc.revision();
        let answered = answer.header.unwrap().revision;
        if answer.watch_id == -1 && !answer.created {
            // Progress of the whole stream: nothing up to there may be missing.
            for seen in self.clients[stream].watchers.values() {
                assert_eq!(
                    seen.events.len(),
                    self.expected(seen, answered).count(),
                    "progress {answered} overtook events of {seen:?}"
                );
            }
            return;
        }
        let client = &mut self.clients[stream];
        if answer.created {
            assert!(answered <= current);
            if answer.canceled {
                assert_eq!(answer.watch_id, -1);
                assert!(
                    answer.cancel_reason.contains("range is empty"),
                    "{answer:?}"
                );
                return;
            }
            let (spec, start) = client.asked.remove(0);
            let seen = Seen {
                spec,
                start: if start == 0 { answered + 1 } else { start },
                events: Vec::new(),
                fragment: false,
                cancelled: false,
                compacted: None,
            };
            assert!(client.watchers.insert(answer.watch_id, seen).is_none());
            return;
        }
        if answer.canceled {
            let Some(mut seen) = client.watchers.remove(&answer.watch_id) else {
                // The client closed one that a compaction had just ended.
                assert!(client.old.iter().any(|seen| seen.compacted.is_some()));
                return;
            };
            assert!(!seen.fragment, "cut off in the middle of an answer");
            if answer.compact_revision > 0 {
                seen.compacted = Some(answer.compact_revision);
            } else {
                seen.cancelled = true;
            }
            client.old.push(seen);
            return;
        }
        let mut seen = client.watchers.remove(&answer.watch_id).unwrap();
        assert!(seen.spec.fragment || !answer.fragment);
        seen.fragment = answer.fragment;
        for event in answer.events {
            let mut plain = event.clone();
            plain.prev_kv = None;
            if seen.spec.prev_kv {
                let is_gone = revision(&event) - 1 < self.mvcc.compact_revision();
                let wanted = self.previous(&event);
                assert!(
                    event.prev_kv.as_ref() == wanted || (is_gone && event.prev_kv.is_none()),
                    "{event:?} does not follow {wanted:?}"
                );
            } else {
                assert_eq!(event.prev_kv, None);
            }
            seen.events.push(plain);
        }
        if !seen.fragment {
            // Whole revisions.
            let last = seen.events.last().map_or(0, revision);
            assert_eq!(seen.events.len(), self.expected(&seen, last).count());
        }
        self.clients[stream].watchers.insert(answer.watch_id, seen);
    }

    async fn finish(&mut self) {
        for stream in 0..STREAMS {
            while self.read(stream).await {}
        }
        let last = self.mvcc.revision();
        for client in &self.clients {
            assert!(client.asked.is_empty());
            for seen in client.watchers.values() {
                let expected: Vec<_> = self.expected(seen, last).cloned().collect();
                assert_eq!(
                    seen.events, expected,
                    "of {:?} from {}",
                    seen.spec, seen.start
                );
            }
            for seen in &client.old {
                let reached = seen.events.last().map_or(0, revision);
                let expected: Vec<_> = self.expected(seen, reached).cloned().collect();
                assert_eq!(seen.events, expected);
                if let Some(compacted) = seen.compacted {
                    // Only a watcher that would have missed something may be cut off.
                    assert!(seen.start.max(reached) < compacted, "{seen:?}");
                } else {
                    assert!(seen.cancelled);
                }
            }
        }
        let stats = self.hub.stats();
        assert_eq!(stats.slow_watchers, 0);
        let alive: usize = self
            .clients
            .iter()
            .map(|client| client.watchers.len())
            .sum();
        assert_eq!(stats.watchers, alive);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn every_watcher_sees_exactly_its_events(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.run(step).await;
            }
            world.finish().await;
            world.clients.clear();
            assert_eq!(world.hub.stats(), super::WatchStats::default());
        });
    }
}

#[test]
fn the_model_knows_what_a_range_is() {
    let range = KeyRange::from_request(key(1), key(3)).unwrap();
    assert!(range.contains(&key(2)) && !range.contains(&key(3)));
}
