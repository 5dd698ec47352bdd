//! Which operations come, from a seed and from what was answered.

use crate::operation::Operation;
use crate::side::Told;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_schemas::etcd_api::etcdserverpb::compare::TargetUnion;
use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request;
use revkeep_schemas::etcd_api::etcdserverpb::*;
use std::collections::{BTreeSet, VecDeque};

/// Few keys, so that they are overwritten, deleted and made again.
const KEYS: u32 = 24;
/// How many watches are open at once.
const WATCHES: usize = 6;

/// Makes operations.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: StdRng,
    /// What must come next.
    queue: VecDeque<Operation>,
    revision: i64,
    compacted: i64,
    compactions: BTreeSet<i64>,
    leases: Vec<i64>,
    next_lease: i64,
    watches: BTreeSet<usize>,
    next_watch: usize,
    /// Revisions that may have changed one key twice: compacted exactly there, etcd loses a row and ends.
    twice: BTreeSet<i64>,
}

impl Generator {
    /// The operations of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        // A key that is never deleted: with nothing alive a hash depends on how far a compaction has come.
        let anchor = PutRequest {
            key: Bytes::from_static(b"anchor"),
            ..PutRequest::default()
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            queue: VecDeque::from([Operation::Put(anchor)]),
            revision: 1,
            compacted: 0,
            compactions: BTreeSet::new(),
            leases: Vec::new(),
            next_lease: 1000,
            watches: BTreeSet::new(),
            next_watch: 0,
            twice: BTreeSet::new(),
        }
    }

    /// The next one.
    pub(crate) fn operation(&mut self) -> Operation {
        if let Some(operation) = self.queue.pop_front() {
            return operation;
        }
        match self.rng.random_range(0..1000) {
            0..330 => {
                let put = self.put(true);
                Operation::Put(put)
            }
            330..430 => {
                let delete = self.delete(true);
                Operation::Delete(delete)
            }
            430..620 => {
                let range = self.range();
                Operation::Range(range)
            }
            620..800 => {
                let txn = self.txn(2);
                Operation::Txn(txn)
            }
            800..830 => self.grant(),
            830..845 => {
                let id = self.lease();
                self.leases.retain(|lease| *lease != id);
                Operation::Revoke(id)
            }
            845..860 => Operation::KeepAlive(self.lease()),
            860..880 => Operation::Describe(self.lease()),
            880..885 => Operation::Leases,
            885..900 => self.compact(),
            900..930 => {
                let revision = self.old_revision();
                Operation::HashKv(revision)
            }
            930..960 => self.watch(),
            960..970 => match self.watches.pop_first() {
                Some(number) => Operation::Cancel(number),
                None => Operation::Leases,
            },
            970..998 => Operation::Catch(self.revision),
            _ => self.expire(),
        }
    }

    /// What is compared when all is done.
    pub(crate) fn last(&mut self) -> Vec<Operation> {
        let mut operations: Vec<_> = self.queue.drain(..).collect();
        operations.extend([Operation::Catch(self.revision), Operation::HashKv(0)]);
        let (first, last) = (self.compacted.max(1), self.revision);
        let step = usize::try_from((last - first) / 20).unwrap_or(1).max(1);
        for revision in (first..=last).step_by(step).chain([last]) {
            operations.push(Operation::HashKv(revision));
            operations.push(Operation::Range(RangeRequest {
                key: Bytes::from_static(b"\0"),
                range_end: Bytes::from_static(b"\0"),
                revision,
                ..RangeRequest::default()
            }));
        }
        operations.push(Operation::Leases);
        operations.extend(self.leases.iter().map(|id| Operation::Describe(*id)));
        if !self.twice.contains(&last) {
            operations.push(Operation::Compact(CompactionRequest {
                revision: last,
                physical: true,
            }));
            operations.push(Operation::HashKv(0));
        }
        operations
    }

    /// Learns from what etcd answered.
    pub(crate) fn learn(&mut self, operation: &Operation, told: &Told) {
        let Some(revision) = told.revision else {
            return;
        };
        if let Operation::Txn(txn) = operation
            && revision > self.revision
            && deletes_from_a_key(txn)
        {
            self.twice.insert(revision);
        }
        if let Operation::Compact(ask) = operation {
            self.compacted = ask.revision;
            self.compactions.insert(ask.revision);
        }
        self.revision = self.revision.max(revision);
    }

    /// Whether a hash is asked for at a revision that was compacted at.
    pub(crate) fn was_compacted_at(&self, operation: &Operation) -> bool {
        match operation {
            Operation::HashKv(0) => self.compactions.contains(&self.revision),
            Operation::HashKv(revision) => self.compactions.contains(revision),
            _ => false,
        }
    }

    fn chance(&mut self, of_hundred: u32) -> bool {
        self.rng.random_range(0..100) < of_hundred
    }

    fn key(&mut self) -> Bytes {
        let number = self.rng.random_range(0..KEYS);
        Bytes::from(match number % 6 {
            0 => format!("k{number}/").into_bytes(),
            1 => [b"k\xff", &number.to_be_bytes()[..]].concat(),
            2 => [b"k\0", &number.to_le_bytes()[..]].concat(),
            3 => vec![b'z'; 1 + number as usize / 6],
            _ => format!("k{number}").into_bytes(),
        })
    }

    fn value(&mut self) -> Bytes {
        let len = match self.rng.random_range(0..20) {
            0 => 0,
            1 => self.rng.random_range(1_000..20_000),
            _ => self.rng.random_range(1..24),
        };
        let byte = self.rng.random::<u8>();
        Bytes::from(vec![byte; len])
    }

    /// The end of a range that begins at a key: often none.
    fn end(&mut self, key: &Bytes, one_of_hundred: u32) -> Bytes {
        if self.chance(one_of_hundred) {
            return Bytes::new();
        }
        match self.rng.random_range(0..4) {
            0 => Bytes::from_static(b"\0"),
            1 => prefix_end(key),
            2 => Bytes::from([&key[..], b"\0"].concat()),
            _ => self.key(),
        }
    }

    fn lease(&mut self) -> i64 {
        if self.leases.is_empty() || self.chance(5) {
            return 77;
        }
        let index = self.rng.random_range(0..self.leases.len());
        self.leases.get(index).copied().unwrap_or(77)
    }

    fn old_revision(&mut self) -> i64 {
        match self.rng.random_range(0..20) {
            0 => self.revision + self.rng.random_range(1..5),
            1 => -1,
            2 => self.compacted,
            3 => self.compacted - 1,
            4 => self.compacted + 1,
            5..8 => 0,
            _ => self.rng.random_range(self.compacted.max(1)..=self.revision),
        }
    }

    /// Options that fail on a missing key are left out where a deletion in the same transaction could make it missing:
    /// etcd checks before it begins, and ends when it is wrong.
    fn put(&mut self, may_keep: bool) -> PutRequest {
        let keep_value = may_keep && self.chance(7);
        let keep_lease = may_keep && self.chance(7);
        let leased = self.chance(20);
        let lease = if leased { self.lease() } else { 0 };
        let value = self.value();
        PutRequest {
            key: self.key(),
            // Sometimes given though it is to be kept, which is refused.
            value: if keep_value && !self.chance(10) {
                Bytes::new()
            } else {
                value
            },
            lease: if keep_lease && !self.chance(10) {
                0
            } else {
                lease
            },
            prev_kv: self.chance(30),
            ignore_value: keep_value,
            ignore_lease: keep_lease,
        }
    }

    fn delete(&mut self, from_a_key: bool) -> DeleteRangeRequest {
        let key = self.key();
        let mut range_end = self.end(&key, 70);
        if !from_a_key && range_end == b"\0"[..] {
            range_end = Bytes::new();
        }
        DeleteRangeRequest {
            key,
            range_end,
            prev_kv: self.chance(30),
        }
    }

    fn range(&mut self) -> RangeRequest {
        let key = if self.chance(20) {
            Bytes::from_static(b"\0")
        } else {
            self.key()
        };
        let range_end = self.end(&key, 25);
        let revision = if self.chance(50) {
            0
        } else {
            self.old_revision()
        };
        let mut bound = |of_hundred| {
            if self.rng.random_range(0..100) < of_hundred {
                self.rng.random_range(1..=self.revision)
            } else {
                0
            }
        };
        let bounds = [bound(10), bound(10), bound(10), bound(10)];
        let sorted = self.chance(40);
        RangeRequest {
            key,
            range_end,
            limit: if self.chance(30) {
                self.rng.random_range(1..8)
            } else {
                0
            },
            revision,
            sort_order: if sorted {
                self.rng.random_range(0..3)
            } else {
                0
            },
            sort_target: if sorted {
                self.rng.random_range(0..5)
            } else {
                0
            },
            serializable: self.chance(20),
            keys_only: self.chance(15),
            count_only: self.chance(10),
            min_mod_revision: bounds[0],
            max_mod_revision: bounds[1],
            min_create_revision: bounds[2],
            max_create_revision: bounds[3],
        }
    }

    fn compare(&mut self) -> Compare {
        let key = self.key();
        let range_end = self.end(&key, 75);
        let revision = self.rng.random_range(0..=self.revision);
        let (target, union) = match self.rng.random_range(0..5) {
            0 => (0, TargetUnion::Version(self.rng.random_range(0..4))),
            1 => (1, TargetUnion::CreateRevision(revision)),
            2 => (2, TargetUnion::ModRevision(revision)),
            3 => (3, TargetUnion::Value(self.value())),
            _ => (4, TargetUnion::Lease(self.lease())),
        };
        Compare {
            result: self.rng.random_range(0..4),
            target,
            key,
            target_union: Some(union),
            range_end,
        }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        let twice = self.chance(25);
        self.txn_of(depth, twice)
    }

    fn txn_of(&mut self, depth: u32, twice: bool) -> TxnRequest {
        let compares = self.rng.random_range(0..3);
        let compare = (0..compares).map(|_| self.compare()).collect();
        let success = self.operations(depth, twice);
        let failure = self.operations(depth, twice);
        TxnRequest {
            compare,
            success,
            failure,
        }
    }

    fn operations(&mut self, depth: u32, twice: bool) -> Vec<RequestOp> {
        let count = self.rng.random_range(0..5);
        (0..count)
            .map(|_| {
                let request = match self.rng.random_range(0..10) {
                    0..4 => Request::RequestPut(self.put(!twice)),
                    4..6 => Request::RequestDeleteRange(self.delete(twice)),
                    6 if depth > 0 => Request::RequestTxn(self.txn_of(depth - 1, twice)),
                    _ => Request::RequestRange(self.range()),
                };
                RequestOp {
                    request: Some(request),
                }
            })
            .collect()
    }

    fn grant(&mut self) -> Operation {
        // Sometimes one that exists.
        let id = if self.chance(10) {
            self.lease()
        } else {
            self.next_lease += 1;
            self.next_lease
        };
        let ttl = self.rng.random_range(1_000..90_000);
        if !self.leases.contains(&id) {
            self.leases.push(id);
        }
        Operation::Grant(LeaseGrantRequest { ttl, id })
    }

    /// A short lease with a few keys, which goes before anything else is done.
    fn expire(&mut self) -> Operation {
        self.next_lease += 1;
        let id = self.next_lease;
        let puts = (0..3).map(|_| self.put(false)).collect::<Vec<_>>();
        for put in puts {
            self.queue
                .push_back(Operation::Put(PutRequest { lease: id, ..put }));
        }
        self.queue.push_back(Operation::Expire(id));
        Operation::Grant(LeaseGrantRequest { ttl: 2, id })
    }

    fn compact(&mut self) -> Operation {
        // At 0, etcd remembers a hash of nothing that it then tells instead of the newest one.
        let mut revision = match self.old_revision() {
            0 => 1,
            revision => revision,
        };
        while self.twice.contains(&revision) {
            revision -= 1;
        }
        let physical = self.chance(60);
        self.queue
            .push_back(Operation::Compact(CompactionRequest { revision, physical }));
        // What was there before a change can be told only while it is kept.
        Operation::Catch(self.revision)
    }

    fn watch(&mut self) -> Operation {
        if self.watches.len() == WATCHES
            && let Some(oldest) = self.watches.pop_first()
        {
            return Operation::Cancel(oldest);
        }
        let key = if self.chance(40) {
            Bytes::from_static(b"\0")
        } else {
            self.key()
        };
        let range_end = self.end(&key, 20);
        let start_revision = match self.rng.random_range(0..10) {
            0..4 => 0,
            4 => self.revision + self.rng.random_range(1..20),
            _ => self.old_revision(),
        };
        let filters = match self.rng.random_range(0..10) {
            0 => vec![0],
            1 => vec![1],
            _ => vec![],
        };
        let number = self.next_watch;
        self.next_watch += 1;
        self.watches.insert(number);
        self.queue.push_back(Operation::Catch(self.revision));
        Operation::Watch(
            number,
            WatchCreateRequest {
                key,
                range_end,
                start_revision,
                filters,
                prev_kv: self.chance(50),
                fragment: self.chance(30),
                ..WatchCreateRequest::default()
            },
        )
    }
}

/// One past every key that begins with this one.
fn prefix_end(key: &Bytes) -> Bytes {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(b"\0")
}

fn deletes_from_a_key(txn: &TxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .any(|op| match &op.request {
            Some(Request::RequestDeleteRange(delete)) => delete.range_end == b"\0"[..],
            Some(Request::RequestTxn(inner)) => deletes_from_a_key(inner),
            _ => false,
        })
}
