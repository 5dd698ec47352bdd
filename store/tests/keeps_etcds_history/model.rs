//! The plain model: every row ever written in a list, and the rules as they are said in words.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use revkeep_schemas::{
    Revision, Row, RowKey,
    etcd_api::{
        etcdserverpb::{
            Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
            RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
            TxnResponse,
            compare::{CompareResult, CompareTarget, TargetUnion},
            range_request::{SortOrder, SortTarget},
            request_op::Request,
            response_op::Response,
        },
        mvccpb::KeyValue,
    },
    hashkv::HashKv,
    kv,
};
use revkeep_store::StoreError;

/// A change of a key.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) main: i64,
    pub(crate) sub: i64,
    /// `None`: deleted.
    pub(crate) put: Option<KeyValue>,
    pub(crate) key: Bytes,
}

/// A store that forgets nothing.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) changes: Vec<Change>,
    pub(crate) current: i64,
    pub(crate) compacted: i64,
    pub(crate) leases: BTreeSet<i64>,
}

type Live = BTreeMap<Bytes, KeyValue>;
type Outcome<T> = Result<T, StoreError>;

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

fn within(key: &[u8], first: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == first,
        [0] => key >= first,
        end => key >= first && key < end,
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            changes: Vec::new(),
            current: 1,
            compacted: -1,
            leases: BTreeSet::new(),
        }
    }

    /// The keys as they were at a revision.
    pub(crate) fn live(&self, at: i64) -> Live {
        let mut live = Live::new();
        for change in self.changes.iter().filter(|change| change.main <= at) {
            match &change.put {
                Some(kv) => live.insert(change.key.clone(), kv.clone()),
                None => live.remove(&change.key),
            };
        }
        live
    }

    fn next_sub(&self) -> i64 {
        let next = self.current + 1;
        self.changes
            .iter()
            .filter(|change| change.main == next)
            .count() as i64
    }

    /// The revision that the transaction under way stands at.
    fn standing(&self) -> i64 {
        self.current + i64::from(self.next_sub() > 0)
    }

    fn end(&mut self) -> i64 {
        self.current = self.standing();
        self.current
    }

    fn write(&mut self, key: &Bytes, put: Option<(Bytes, i64)>) {
        let (main, sub) = (self.current + 1, self.next_sub());
        let before = self.live(main).get(key).cloned();
        let put = put.map(|(value, lease)| KeyValue {
            key: key.clone(),
            create_revision: before
                .as_ref()
                .map_or(main, |before| before.create_revision),
            mod_revision: main,
            version: before.as_ref().map_or(0, |before| before.version) + 1,
            value,
            lease,
        });
        self.changes.push(Change {
            main,
            sub,
            put,
            key: key.clone(),
        });
    }

    fn put_in(&mut self, request: &PutRequest) -> Outcome<PutResponse> {
        let before = self.live(self.standing()).get(&request.key).cloned();
        let (mut value, mut lease) = (request.value.clone(), request.lease);
        if request.ignore_value {
            value = before
                .as_ref()
                .ok_or(StoreError::KeyNotFound)?
                .value
                .clone();
        }
        if request.ignore_lease {
            lease = before.as_ref().ok_or(StoreError::KeyNotFound)?.lease;
        }
        self.write(&request.key, Some((value, lease)));
        Ok(PutResponse {
            header: header(self.current + 1),
            prev_kv: before.filter(|_| request.prev_kv),
        })
    }

    fn delete_in(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let live = self.live(self.standing());
        let hit: Vec<_> = live
            .into_values()
            .filter(|kv| within(&kv.key, &request.key, &request.range_end))
            .collect();
        for kv in &hit {
            self.write(&kv.key, None);
        }
        DeleteRangeResponse {
            header: header(self.standing()),
            deleted: hit.len() as i64,
            prev_kvs: if request.prev_kv { hit } else { Vec::new() },
        }
    }

    fn range_in(&self, request: &RangeRequest) -> Outcome<RangeResponse> {
        let standing = self.standing();
        if request.revision > standing {
            return Err(StoreError::FutureRevision);
        }
        let at = if request.revision > 0 {
            request.revision
        } else {
            standing
        };
        if at < self.compacted {
            return Err(StoreError::Compacted);
        }
        let live = self.live(at);
        let mut kvs: Vec<_> = live
            .into_values()
            .filter(|kv| within(&kv.key, &request.key, &request.range_end))
            .collect();
        let count = kvs.len() as i64;
        let mut more = false;
        if request.count_only {
            kvs.clear();
        }
        let filters = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        let limit = request.limit as usize;
        let unsorted = request.sort_order() == SortOrder::None && filters == [0; 4];
        if limit > 0 && unsorted {
            kvs.truncate(limit + 1);
        }
        kvs.retain(|kv| {
            let [min_mod, max_mod, min_create, max_create] = filters;
            (min_mod == 0 || kv.mod_revision >= min_mod)
                && (max_mod == 0 || kv.mod_revision <= max_mod)
                && (min_create == 0 || kv.create_revision >= min_create)
                && (max_create == 0 || kv.create_revision <= max_create)
        });
        let by = |kv: &KeyValue| match request.sort_target() {
            SortTarget::Key => (0, kv.key.clone()),
            SortTarget::Version => (kv.version, Bytes::new()),
            SortTarget::Create => (kv.create_revision, Bytes::new()),
            SortTarget::Mod => (kv.mod_revision, Bytes::new()),
            SortTarget::Value => (0, kv.value.clone()),
        };
        kvs.sort_by_key(by);
        if request.sort_order() == SortOrder::Descend {
            kvs.sort_by_key(|kv| std::cmp::Reverse(by(kv)));
        }
        if limit > 0 && kvs.len() > limit {
            kvs.truncate(limit);
            more = true;
        }
        if request.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
            }
        }
        Ok(RangeResponse {
            header: header(standing),
            kvs,
            more,
            count,
        })
    }

    fn check_lease(&self, lease: i64) -> Outcome<()> {
        if lease != 0 && !self.leases.contains(&lease) {
            return Err(StoreError::LeaseNotFound);
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, request: &PutRequest) -> Outcome<PutResponse> {
        self.check_lease(request.lease)?;
        let response = self.put_in(request)?;
        self.end();
        Ok(response)
    }

    pub(crate) fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let response = self.delete_in(request);
        self.end();
        response
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Outcome<RangeResponse> {
        self.range_in(request)
    }

    pub(crate) fn txn(&mut self, request: &TxnRequest) -> Outcome<TxnResponse> {
        let start = self.clone();
        let outcome = start
            .check(request)
            .and_then(|()| self.txn_in(&start, request));
        match outcome {
            Ok(mut response) => {
                response.header = header(self.end());
                Ok(response)
            }
            Err(error) => {
                *self = start;
                Err(error)
            }
        }
    }

    fn branch<'a>(&self, request: &'a TxnRequest) -> (bool, &'a [RequestOp]) {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        (succeeded, ops)
    }

    /// All puts first, then all ranges: it shows where both are wrong.
    fn check(&self, request: &TxnRequest) -> Outcome<()> {
        let mut ops = Vec::new();
        self.flat(request, &mut ops);
        let live = self.live(self.current);
        for op in &ops {
            if let Request::RequestPut(put) = op {
                if (put.ignore_value || put.ignore_lease) && !live.contains_key(&put.key) {
                    return Err(StoreError::KeyNotFound);
                }
                self.check_lease(put.lease)?;
            }
        }
        for op in &ops {
            if let Request::RequestRange(range) = op {
                if range.revision > self.current {
                    return Err(StoreError::FutureRevision);
                }
                if range.revision != 0 && range.revision < self.compacted {
                    return Err(StoreError::Compacted);
                }
            }
        }
        Ok(())
    }

    fn flat<'a>(&self, request: &'a TxnRequest, into: &mut Vec<&'a Request>) {
        for op in self.branch(request).1 {
            match op.request.as_ref().unwrap() {
                Request::RequestTxn(inside) => self.flat(inside, into),
                other => into.push(other),
            }
        }
    }

    fn txn_in(&mut self, start: &Self, request: &TxnRequest) -> Outcome<TxnResponse> {
        let (succeeded, ops) = start.branch(request);
        let mut responses = Vec::new();
        for op in ops {
            let response = match op.request.as_ref().unwrap() {
                Request::RequestRange(range) => Response::ResponseRange(self.range_in(range)?),
                Request::RequestPut(put) => Response::ResponsePut(self.put_in(put)?),
                Request::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.delete_in(delete))
                }
                Request::RequestTxn(inside) => Response::ResponseTxn(self.txn_in(start, inside)?),
            };
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        Ok(TxnResponse {
            header: header(0),
            succeeded,
            responses,
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let live = self.live(self.current);
        let mut hit: Vec<_> = live
            .into_values()
            .filter(|kv| within(&kv.key, &compare.key, &compare.range_end))
            .collect();
        if hit.is_empty() {
            if compare.target() == CompareTarget::Value {
                return false;
            }
            hit.push(KeyValue::default());
        }
        let number = match &compare.target_union {
            Some(
                TargetUnion::Version(number)
                | TargetUnion::CreateRevision(number)
                | TargetUnion::ModRevision(number)
                | TargetUnion::Lease(number),
            ) => *number,
            _ => 0,
        };
        let value = match &compare.target_union {
            Some(TargetUnion::Value(value)) => value.clone(),
            _ => Bytes::new(),
        };
        hit.iter().all(|kv| {
            let order = match compare.target() {
                CompareTarget::Version => kv.version.cmp(&number),
                CompareTarget::Create => kv.create_revision.cmp(&number),
                CompareTarget::Mod => kv.mod_revision.cmp(&number),
                CompareTarget::Lease => kv.lease.cmp(&number),
                CompareTarget::Value => kv.value.cmp(&value),
            };
            match compare.result() {
                CompareResult::Equal => order.is_eq(),
                CompareResult::NotEqual => order.is_ne(),
                CompareResult::Greater => order.is_gt(),
                CompareResult::Less => order.is_lt(),
            }
        })
    }

    pub(crate) fn compact(&mut self, at: i64) -> Outcome<()> {
        if at <= self.compacted {
            return Err(StoreError::Compacted);
        }
        if at > self.current {
            return Err(StoreError::FutureRevision);
        }
        self.compacted = at;
        Ok(())
    }

    pub(crate) fn revoke(&mut self, lease: i64) -> Outcome<i64> {
        if !self.leases.remove(&lease) {
            return Err(StoreError::LeaseNotFound);
        }
        let hanging = self
            .live(self.current)
            .into_values()
            .filter(|kv| kv.lease == lease);
        for kv in hanging.collect::<Vec<_>>() {
            self.write(&kv.key, None);
        }
        Ok(self.end())
    }

    pub(crate) fn keys_of(&self, lease: i64) -> Vec<Bytes> {
        let live = self.live(self.current).into_values();
        live.filter(|kv| kv.lease == lease)
            .map(|kv| kv.key)
            .collect()
    }

    /// Where the newest change of each key stands, at a revision.
    fn newest(&self, at: i64) -> BTreeMap<&Bytes, usize> {
        let changes = self.changes.iter().enumerate();
        changes
            .filter(|(_, change)| change.main <= at)
            .map(|(place, change)| (&change.key, place))
            .collect()
    }

    /// The rows that are there once all compactions are over.
    pub(crate) fn rows(&self) -> Vec<(RowKey, Bytes)> {
        self.present().map(|(_, change)| change.row()).collect()
    }

    fn present(&self) -> impl Iterator<Item = (usize, &Change)> {
        let newest = self.newest(self.compacted);
        self.changes
            .iter()
            .enumerate()
            .filter(move |(place, change)| {
                change.main > self.compacted
                    || if change.put.is_some() {
                        newest.get(&change.key) == Some(place)
                    } else {
                        change.main == self.compacted
                    }
            })
    }

    /// HashKV at a revision, over the rows that are there. What a compaction at that revision finds on its way differs in
    /// one case: to it a tombstone exactly there is something that is kept.
    pub(crate) fn hash(&self, at: i64, by_compaction: bool) -> u32 {
        let newest = self.newest(at);
        // What the revision itself deletes does not count as live, even if it puts it again.
        let deletes_at = |key: &Bytes| {
            let mut changes = self.changes.iter();
            changes.any(|other| other.main == at && other.put.is_none() && other.key == *key)
        };
        let is_live = |(place, change): &(usize, &Change)| {
            change.put.is_some()
                && newest.get(&change.key) == Some(place)
                && !deletes_at(&change.key)
        };
        let mut changes = self.changes.iter().enumerate();
        let any_live = changes.any(|change| {
            let mark = change.1.main == at && change.1.put.is_none();
            is_live(&change) || (by_compaction && mark)
        });
        let mut hash = HashKv::new();
        for present in self.present() {
            let change = present.1;
            let above = change.main > at;
            let replaced = change.main <= self.compacted && any_live && !is_live(&present);
            let mark = change.put.is_none() && change.main == self.compacted;
            if !above && !replaced && !mark {
                let (key, value) = change.row();
                hash.update(&Row { key, value: &value });
            }
        }
        hash.finish()
    }
}

impl Change {
    pub(crate) fn row(&self) -> (RowKey, Bytes) {
        let key = RowKey {
            main: Revision(self.main),
            sub: self.sub,
            tombstone: self.put.is_none(),
        };
        let value = match &self.put {
            None => kv::KeyValue::encode_tombstone(&self.key),
            Some(put) => kv::KeyValue {
                key: &put.key,
                create_revision: put.create_revision,
                mod_revision: put.mod_revision,
                version: put.version,
                value: &put.value,
                lease: put.lease,
            }
            .encode(),
        };
        (key, value.into())
    }
}
