//! Side by side with the model, through compactions, flushes, restarts, crashes with a replayed log, defragmentation and
//! snapshots.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use rand::RngExt as _;
use revkeep_schemas::{
    boltdb::DbOptions,
    etcd_api::{
        etcdserverpb::{
            DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, TxnRequest,
            TxnResponse,
        },
        mvccpb::event::EventType,
    },
};
use revkeep_store::{
    StoreError,
    backend::{Backend, BackendOptions, MemoryDisk, Position},
    mvcc::{CompactionMode, Mvcc, MvccOptions, txn_is_read_only},
    snapshot,
};

use crate::{model::Model, requests::Requests};

/// What the log holds.
#[derive(Clone, Debug)]
enum Command {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(i64),
    Grant(i64, i64),
    Revoke(i64),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compacted,
    Granted(i64),
    Revoked(i64),
    Refused(String),
}

fn refused<T>(outcome: Result<T, StoreError>, answer: impl FnOnce(T) -> Answer) -> Answer {
    outcome.map_or_else(|error| Answer::Refused(error.message()), answer)
}

fn apply(store: &Mvcc, command: &Command) -> Answer {
    match command {
        Command::Put(request) => refused(store.put(request), Answer::Put),
        Command::Delete(request) => refused(store.delete_range(request), Answer::Delete),
        Command::Txn(request) => refused(store.txn(request), Answer::Txn),
        Command::Compact(at) => refused(store.compact(*at), |_| Answer::Compacted),
        Command::Grant(id, ttl) => refused(store.leases().grant(*id, *ttl), |lease| {
            Answer::Granted(lease.ttl_s)
        }),
        Command::Revoke(id) => refused(store.revoke_lease(*id), Answer::Revoked),
    }
}

fn apply_to_model(model: &mut Model, command: &Command) -> Answer {
    match command {
        Command::Put(request) => refused(model.put(request), Answer::Put),
        Command::Delete(request) => Answer::Delete(model.delete(request)),
        Command::Txn(request) => refused(model.txn(request), Answer::Txn),
        Command::Compact(at) => refused(model.compact(*at), |()| Answer::Compacted),
        Command::Grant(id, ttl) => {
            if !model.leases.insert(*id) {
                return Answer::Refused(StoreError::LeaseExists.message());
            }
            Answer::Granted(*ttl)
        }
        Command::Revoke(id) => refused(model.revoke(*id), Answer::Revoked),
    }
}

struct Run {
    disk: MemoryDisk,
    store: Arc<Mvcc>,
    model: Model,
    requests: Requests,
    /// Every command with its answer, and the model's current revision after it.
    log: Vec<(Command, Answer)>,
    /// What a crash has made of the disk is decided by these.
    crashes: u64,
}

fn open(disk: &MemoryDisk) -> Arc<Mvcc> {
    let backend = Backend::open(Arc::new(disk.clone()), BackendOptions::default()).unwrap();
    let options = MvccOptions {
        compaction: CompactionMode::OnFlush,
        ..MvccOptions::default()
    };
    Mvcc::open(Arc::new(backend), options).unwrap()
}

impl Run {
    fn new(seed: u64) -> Self {
        let disk = MemoryDisk::new();
        Self {
            store: open(&disk),
            disk,
            model: Model::new(),
            requests: Requests::new(seed, false),
            log: Vec::new(),
            crashes: seed << 8,
        }
    }

    fn seal(&self, index: usize) {
        let raft = Bytes::from(format!("raft {index}"));
        let backend = self.store.backend();
        backend.set_position(Position::new(1, index as u64), Some(raft));
    }

    fn command(&mut self) -> Command {
        let current = self.model.current;
        match self.requests.random.random_range(0..20) {
            0..=7 => Command::Put(self.requests.put()),
            8 | 9 => Command::Delete(self.requests.delete()),
            10..=15 => Command::Txn(self.requests.txn(current, 2)),
            16 => Command::Compact(self.near(current - 12..current + 2)),
            17 | 18 => {
                let id = self.near(1..9);
                self.requests.leases.push(id);
                Command::Grant(id, 60)
            }
            _ => Command::Revoke(self.near(1..9)),
        }
    }

    fn near(&mut self, range: Range<i64>) -> i64 {
        self.requests.random.random_range(range)
    }

    fn step(&mut self) {
        let command = self.command();
        let before = self.model.current;
        let expected = apply_to_model(&mut self.model, &command);
        let answer = apply(&self.store, &command);
        assert_eq!(answer, expected, "{command:?}");
        self.log.push((command, answer));
        self.seal(self.log.len());
        self.check_events(before);
        for _ in 0..3 {
            self.check_read();
        }
        match self.requests.random.random_range(0..40) {
            0..=4 => drop(self.store.flush().unwrap()),
            5 => self.restart(),
            6 | 7 => self.crash(),
            8 => self.store.backend().defragment().unwrap(),
            9 => self.move_by_snapshot(),
            10..=13 => self.check_all(),
            _ => {}
        }
    }

    /// The events since the last entry are those of the new rows.
    fn check_events(&self, before: i64) {
        let taken = self.store.take_events();
        assert!(taken.len() <= 1);
        let events = taken.into_iter().flat_map(|of| {
            let revision = of.revision;
            of.events.into_iter().map(move |event| (revision, event))
        });
        let changes: Vec<_> = self
            .model
            .changes
            .iter()
            .filter(|c| c.main > before)
            .collect();
        let events: Vec<_> = events.collect();
        assert_eq!(events.len(), changes.len());
        for ((revision, event), change) in events.iter().zip(changes) {
            assert_eq!(*revision, change.main);
            let kv = event.kv.as_ref().unwrap();
            assert_eq!((kv.mod_revision, &kv.key), (change.main, &change.key));
            match &change.put {
                Some(put) => assert_eq!((event.r#type(), kv), (EventType::Put, put)),
                None => assert_eq!((event.r#type(), kv.version), (EventType::Delete, 0)),
            }
        }
    }

    fn check_read(&mut self) {
        let request = self.requests.range(self.model.current);
        let expected = self.model.range(&request).map_err(|error| error.message());
        let answer = self.store.range(&request).map_err(|error| error.message());
        assert_eq!(answer, expected, "{request:?}");
        let txn = self.requests.txn(self.model.current, 0);
        if txn_is_read_only(&txn) {
            let expected = self.model.txn(&txn).map_err(|error| error.message());
            let answer = self.store.txn_read(&txn).map_err(|error| error.message());
            assert_eq!(answer, expected, "{txn:?}");
        }
    }

    /// Everything that there is.
    fn check_all(&mut self) {
        // The first makes a compaction's decision durable and runs it.
        self.store.flush().unwrap();
        assert_eq!(self.store.revision(), self.model.current);
        assert_eq!(self.store.compact_revision(), self.model.compacted);
        let mut rows = self.store.backend().view().all_rows().unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next_owned().unwrap() {
            found.push(row);
        }
        assert_eq!(found, self.model.rows());
        self.check_history();
        for lease in 1..9 {
            let keys = self.store.leases().keys(lease).ok();
            let expected = self.model.leases.contains(&lease);
            assert_eq!(
                keys,
                expected.then(|| self.model.keys_of(lease)),
                "lease {lease}"
            );
        }
        for at in (self.model.compacted - 14).max(0)..=self.model.current + 1 {
            self.check_hash(at);
        }
    }

    fn check_history(&mut self) {
        let from = self.near(self.model.compacted.max(0)..self.model.current + 2);
        let (limit, bytes) = (self.near(1..5) as usize, self.near(1..200) as usize);
        let mut expected = self
            .model
            .rows()
            .into_iter()
            .filter(|(key, _)| key.main.0 >= from);
        let mut next = from;
        while next <= self.model.current {
            let page = self.store.events(next, limit, bytes).unwrap();
            assert!(page.next > next && page.revisions.len() <= limit);
            for revision in page.revisions {
                for event in revision.events {
                    let (key, _) = expected.next().unwrap();
                    let is_delete = event.r#type() == EventType::Delete;
                    assert_eq!((revision.revision, is_delete), (key.main.0, key.tombstone));
                }
            }
            next = page.next;
        }
        assert_eq!(next, self.model.current + 1);
        assert_eq!(expected.next(), None);
        if self.model.compacted > 0 {
            let error = self
                .store
                .events(self.model.compacted - 1, 1, 1)
                .unwrap_err();
            assert!(matches!(error, StoreError::Compacted));
        }
    }

    fn check_hash(&self, at: i64) {
        let answer = match self.store.hash_kv(at) {
            Ok(answer) => answer,
            Err(error) => {
                let expected = if at > self.model.current {
                    StoreError::FutureRevision
                } else {
                    assert!(at < self.model.compacted);
                    StoreError::Compacted
                };
                assert_eq!(error.message(), expected.message());
                return;
            }
        };
        let revision = if at == 0 { self.model.current } else { at };
        assert_eq!(
            (answer.hash_revision, answer.current),
            (revision, self.model.current)
        );
        // A compaction's own hash assumes the compaction before it.
        let mut model = self.model.clone();
        let by_compaction = answer.compact_revision < model.compacted;
        assert!(by_compaction || answer.compact_revision == model.compacted);
        model.compacted = answer.compact_revision;
        let expected = model.hash(revision, by_compaction);
        assert_eq!(answer.hash, expected, "{answer:?} asked at {at}");
    }

    /// Ends as an orderly stop does, without a flush.
    fn restart(&mut self) {
        self.store.stop();
        let disk = self.disk.clone();
        self.reopen(disk);
    }

    /// Loses what was not synced, and some of it not.
    fn crash(&mut self) {
        self.crashes += 1;
        let disk = self.disk.crash(self.crashes);
        self.reopen(disk);
    }

    /// Opens the disk as it is, and replays the log from where it stands: every answer is what it was.
    fn reopen(&mut self, disk: MemoryDisk) {
        let durable = self.store.backend().durable();
        // The old one closes its file first.
        let placeholder = MemoryDisk::new();
        self.store = open(&placeholder);
        self.store = open(&disk);
        self.disk = disk;
        let backend = self.store.backend();
        let position = backend.position();
        assert!(position >= durable, "{position} is before {durable}");
        let index = position.index as usize;
        let raft = (index > 0).then(|| Bytes::from(format!("raft {index}")));
        assert_eq!(backend.raft_state(), raft);
        for (place, (command, answer)) in self.log.iter().enumerate().skip(index) {
            assert_eq!(&apply(&self.store, command), answer, "replayed {command:?}");
            self.seal(place + 1);
        }
        self.store.take_events();
        self.check_all();
    }

    /// Goes on with another member, which knows a snapshot alone.
    fn move_by_snapshot(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db");
        let view = self.store.backend().view();
        let trailer = self.requests.chance(0.5);
        snapshot::export(
            &view,
            &file,
            DbOptions {
                trailer,
                ..DbOptions::default()
            },
        )
        .unwrap();
        assert_eq!(snapshot::position_of(&file).unwrap(), view.position());
        let disk = MemoryDisk::new();
        let other = open(&disk);
        // It had a life of its own.
        for _ in 0..4 {
            drop(other.put(&self.requests.put()));
        }
        other.backend().set_position(Position::new(1, 1), None);
        let raft = self
            .requests
            .chance(0.5)
            .then(|| (view.position(), view.raft_state()));
        let with_raft = raft.is_some();
        other.install(&file, raft).unwrap();
        self.store = other;
        if !with_raft {
            self.seal(self.log.len());
        }
        self.disk = disk;
        // What it says is durable now, without a flush.
        let durable = self.store.backend().durable();
        assert_eq!(durable.index as usize, self.log.len());
        self.store.flush().unwrap();
        self.check_all();
    }
}

#[test]
fn every_answer_is_the_models() {
    let runs = std::env::var("REVKEEP_MODEL_RUNS").ok();
    let runs = runs.map_or(12, |runs| runs.parse().unwrap());
    for seed in 0..runs {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.step();
        }
        run.check_all();
    }
}
