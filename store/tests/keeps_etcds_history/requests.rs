//! Random requests over few keys, so that they meet often.

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_schemas::etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    range_request::{SortOrder, SortTarget},
    request_op::Request,
};

/// Makes requests from a seed.
pub(crate) struct Requests {
    pub(crate) random: StdRng,
    /// Leave out what a server refuses before it reaches the store, and what makes etcd itself fall over.
    pub(crate) for_servers: bool,
    /// Leases to put keys on; some of them are gone.
    pub(crate) leases: Vec<i64>,
}

impl Requests {
    pub(crate) fn new(seed: u64, for_servers: bool) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            for_servers,
            leases: Vec::new(),
        }
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    pub(crate) fn key(&mut self) -> Bytes {
        Bytes::from(format!("k{}", self.random.random_range(0..8)))
    }

    fn value(&mut self) -> Bytes {
        let len = self.random.random_range(0..5);
        (0..len)
            .map(|_| self.random.random_range(b'a'..b'e'))
            .collect::<Vec<_>>()
            .into()
    }

    /// A key and a range end.
    fn span(&mut self) -> (Bytes, Bytes) {
        match self.random.random_range(0..7) {
            0..=2 => (self.key(), Bytes::new()),
            3 | 4 => (self.key(), self.key()),
            5 => (self.key(), Bytes::from_static(b"\0")),
            _ => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        }
    }

    fn lease(&mut self) -> i64 {
        if self.leases.is_empty() || self.chance(0.7) {
            return 0;
        }
        self.leases[self.random.random_range(0..self.leases.len())]
    }

    pub(crate) fn put(&mut self) -> PutRequest {
        let ignore_value = self.chance(0.1);
        let ignore_lease = self.chance(0.1);
        PutRequest {
            key: self.key(),
            value: if ignore_value {
                Bytes::new()
            } else {
                self.value()
            },
            lease: if ignore_lease { 0 } else { self.lease() },
            prev_kv: self.chance(0.5),
            ignore_value,
            ignore_lease,
        }
    }

    pub(crate) fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.span();
        DeleteRangeRequest {
            key,
            range_end,
            prev_kv: self.chance(0.5),
        }
    }

    /// `current`: the revision to read around.
    pub(crate) fn range(&mut self, current: i64) -> RangeRequest {
        let (key, range_end) = self.span();
        let revision = match self.random.random_range(0..4) {
            0 | 1 => 0,
            2 => self.random.random_range(1..=current),
            // Perhaps one too high.
            _ => current - self.random.random_range(-1..12.min(current)),
        };
        let bound = |random: &mut StdRng| match random.random_range(0..6) {
            0 => random.random_range(1..=current),
            _ => 0,
        };
        let mut bound = || bound(&mut self.random);
        let (min_mod, max_mod, min_create, max_create) = (bound(), bound(), bound(), bound());
        RangeRequest {
            key,
            range_end,
            limit: if self.chance(0.4) {
                self.random.random_range(1..6)
            } else {
                0
            },
            revision,
            sort_order: self
                .pick([SortOrder::None, SortOrder::Ascend, SortOrder::Descend])
                .into(),
            sort_target: self
                .pick([
                    SortTarget::Key,
                    SortTarget::Version,
                    SortTarget::Create,
                    SortTarget::Mod,
                    SortTarget::Value,
                ])
                .into(),
            serializable: false,
            keys_only: self.chance(0.2),
            count_only: self.chance(0.15),
            min_mod_revision: min_mod,
            max_mod_revision: max_mod,
            min_create_revision: min_create,
            max_create_revision: max_create,
        }
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[self.random.random_range(0..N)]
    }

    fn compare(&mut self, current: i64) -> Compare {
        let (key, range_end) = self.span();
        let target = self.pick([
            CompareTarget::Version,
            CompareTarget::Create,
            CompareTarget::Mod,
            CompareTarget::Value,
            CompareTarget::Lease,
        ]);
        let revision = self.random.random_range(0..=current);
        let union = match target {
            CompareTarget::Version => TargetUnion::Version(self.random.random_range(0..4)),
            CompareTarget::Create => TargetUnion::CreateRevision(revision),
            CompareTarget::Mod => TargetUnion::ModRevision(revision),
            CompareTarget::Value => TargetUnion::Value(self.value()),
            CompareTarget::Lease => TargetUnion::Lease(self.lease()),
        };
        Compare {
            result: self
                .pick([
                    CompareResult::Equal,
                    CompareResult::NotEqual,
                    CompareResult::Greater,
                    CompareResult::Less,
                ])
                .into(),
            target: target.into(),
            key,
            range_end,
            // A missing value compares as zero.
            target_union: (!self.chance(0.05)).then_some(union),
        }
    }

    pub(crate) fn txn(&mut self, current: i64, depth: usize) -> TxnRequest {
        let compares = self.random.random_range(0..3);
        let compare = (0..compares).map(|_| self.compare(current)).collect();
        let (success, failure) = (self.ops(current, depth), self.ops(current, depth));
        TxnRequest {
            compare,
            success,
            failure,
        }
    }

    fn ops(&mut self, current: i64, depth: usize) -> Vec<RequestOp> {
        let mut ops: Vec<_> = (0..self.random.random_range(0..5))
            .map(|_| match self.random.random_range(0..10) {
                0..=3 => Request::RequestPut(self.put()),
                4 | 5 => Request::RequestDeleteRange(self.delete()),
                6 if depth > 0 => Request::RequestTxn(self.txn(current, depth - 1)),
                _ => Request::RequestRange(self.range(current)),
            })
            .collect();
        if self.for_servers {
            keep_etcd_alive(&mut ops);
        }
        let wrap = |request| RequestOp {
            request: Some(request),
        };
        ops.into_iter().map(wrap).collect()
    }
}

/// etcd ends itself when a put takes a value from a key that the same transaction has deleted, which its check for
/// overlaps does not see where the delete has no end.
fn keep_etcd_alive(ops: &mut [Request]) {
    for op in ops {
        match op {
            Request::RequestPut(put) if put.ignore_value || put.ignore_lease => {
                put.ignore_value = false;
                put.ignore_lease = false;
            }
            _ => {}
        }
    }
}
