//! No two writes of one transaction may meet on a key.

use std::collections::{BTreeMap, HashSet};

use revkeep_schemas::etcd_api::etcdserverpb::{RequestOp, request_op::Request};

use crate::error::{Result, StoreError};

/// The keys and ranges that a list of operations deletes.
#[derive(Default)]
struct Deletes<'a> {
    keys: HashSet<&'a [u8]>,
    /// Begin to end, merged: no two of them touch.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deletes<'a> {
    fn add(&mut self, key: &'a [u8], end: &'a [u8]) {
        if end.is_empty() {
            self.keys.insert(key);
        } else {
            self.add_range(key, end);
        }
    }

    /// A range that ends before it begins covers nothing. So does, for etcd, one whose end is the zero byte: its overlap
    /// check does not know that this means "to the last key".
    fn add_range(&mut self, mut begin: &'a [u8], mut end: &'a [u8]) {
        if end <= begin {
            return;
        }
        if let Some((&before, &until)) = self.ranges.range(..=begin).next_back()
            && until >= begin
        {
            begin = before;
            end = end.max(until);
        }
        while let Some((&next, &until)) = self.ranges.range(begin..).next()
            && next <= end
        {
            end = end.max(until);
            self.ranges.remove(next);
        }
        self.ranges.insert(begin, end);
    }

    fn cover(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
            || self
                .ranges
                .range(..=key)
                .next_back()
                .is_some_and(|(_, &end)| key < end)
    }

    fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
        for (begin, end) in other.ranges {
            self.add_range(begin, end);
        }
    }
}

/// Refuses operations of which two write one key, or one writes what another deletes. The two branches of an inner
/// transaction exclude each other and may write the same key.
pub(super) fn check_overlap(operations: &[RequestOp]) -> Result<()> {
    // The usual transaction has one operation a branch and nothing to meet.
    let alone = |only: &RequestOp| !matches!(only.request, Some(Request::RequestTxn(_)));
    match operations {
        [] => return Ok(()),
        [only] if alone(only) => return Ok(()),
        _ => {}
    }
    writes(operations).map(drop)
}

fn writes(operations: &[RequestOp]) -> Result<(HashSet<&[u8]>, Deletes<'_>)> {
    let mut deletes = Deletes::default();
    for operation in operations {
        if let Some(Request::RequestDeleteRange(delete)) = &operation.request {
            deletes.add(&delete.key, &delete.range_end);
        }
    }

    let mut puts: HashSet<&[u8]> = HashSet::new();
    for operation in operations {
        let Some(Request::RequestTxn(txn)) = &operation.request else {
            continue;
        };
        let (then_puts, then_deletes) = writes(&txn.success)?;
        let (else_puts, else_deletes) = writes(&txn.failure)?;
        for &key in &then_puts {
            if puts.contains(key) || deletes.cover(key) {
                return Err(StoreError::DuplicateKey);
            }
        }
        for &key in &else_puts {
            // `puts` does not hold the other branch yet.
            if puts.contains(key) || deletes.cover(key) {
                return Err(StoreError::DuplicateKey);
            }
        }
        puts.extend(then_puts);
        puts.extend(else_puts);
        deletes.extend(then_deletes);
        deletes.extend(else_deletes);
    }

    for operation in operations {
        if let Some(Request::RequestPut(put)) = &operation.request
            && (deletes.cover(&put.key) || !puts.insert(&put.key))
        {
            return Err(StoreError::DuplicateKey);
        }
    }
    Ok((puts, deletes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use revkeep_schemas::etcd_api::etcdserverpb::{DeleteRangeRequest, PutRequest, TxnRequest};

    use super::*;

    fn put(key: &'static str) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: key.into(),
                ..PutRequest::default()
            })),
        }
    }

    fn delete(key: &'static str, end: &'static str) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestDeleteRange(DeleteRangeRequest {
                key: key.into(),
                range_end: end.into(),
                prev_kv: false,
            })),
        }
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestTxn(TxnRequest {
                compare: vec![],
                success,
                failure,
            })),
        }
    }

    #[test]
    fn writes_that_meet_are_refused() {
        for bad in [
            vec![put("a"), put("a")],
            vec![put("a"), delete("a", "")],
            vec![delete("a", "c"), put("b")],
            vec![txn(vec![put("a")], vec![]), put("a")],
            vec![txn(vec![delete("a", "c")], vec![]), put("b")],
            vec![
                txn(vec![delete("a", "c")], vec![]),
                txn(vec![put("b")], vec![]),
            ],
            vec![txn(vec![], vec![put("a")]), txn(vec![put("a")], vec![])],
        ] {
            assert!(
                matches!(check_overlap(&bad), Err(StoreError::DuplicateKey)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn writes_that_do_not_meet_are_accepted() {
        for good in [
            vec![put("a"), put("b")],
            vec![delete("a", "c"), put("c")],
            vec![delete("a", "c"), delete("b", "d")],
            vec![txn(vec![put("a")], vec![put("a")])],
            // etcd accepts these two as well.
            vec![delete("a", "\0"), put("b")],
            vec![
                txn(vec![put("b")], vec![]),
                txn(vec![delete("a", "c")], vec![]),
            ],
        ] {
            assert!(check_overlap(&good).is_ok(), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn merged_ranges_cover_what_the_ranges_cover(
            ranges in prop::collection::vec(("[a-e]{1,2}", "[a-e]{1,2}"), 0..8),
            key in "[a-e]{1,3}",
        ) {
            let mut deletes = Deletes::default();
            for (begin, end) in &ranges {
                deletes.add(begin.as_bytes(), end.as_bytes());
            }
            let covered = ranges.iter().any(|(begin, end)| *begin <= key && key < *end);
            prop_assert_eq!(deletes.cover(key.as_bytes()), covered);
        }
    }
}
