//! Range.

use revkeep_schemas::etcd_api::{
    etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, range_request::SortOrder},
    mvccpb::KeyValue,
};

use super::{Mvcc, index::Span, order::sort, read::Moment, revisions::readable};
use crate::error::Result;

impl Mvcc {
    /// Reads keys. Linearizable or serializable is for the caller to see to: this reads what was applied here.
    ///
    /// # Errors
    /// etcd's, for a revision that is compacted or not there yet.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        self.reading(request.revision, |moment| range(&moment, request))
    }
}

/// The header of an answer: callers fill in what is not the store's.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the field of a message is an option"
)]
pub(super) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

/// etcd, `server/etcdserver/apply.go`, `Range`, and `server/storage/mvcc/kvstore_txn.go`, `rangeKeys`.
pub(super) fn range(moment: &Moment<'_>, request: &RangeRequest) -> Result<RangeResponse> {
    let at = readable(request.revision, moment.current, moment.compact)?;
    let span = Span::new(&request.key, &request.range_end);
    let mut response = RangeResponse {
        header: header(moment.current),
        ..RangeResponse::default()
    };
    if request.count_only {
        response.count = count(moment.count(span, at));
        return Ok(response);
    }
    let limit = usize::try_from(request.limit).unwrap_or(0);
    // One more than the limit tells whether there are more. Filters and an asked-for order need all; an order that only
    // follows from the target sorts what the limit has left, as etcd does.
    let read = if limit == 0 || needs_all(request) {
        0
    } else {
        limit.saturating_add(1)
    };
    let (changes, total) = moment.changes(span, at, read);
    let mut kvs = moment.rows(&changes)?;
    filter(&mut kvs, request);
    // An order that does not exist sorts nothing, as in etcd.
    if let Ok(order) = SortOrder::try_from(request.sort_order) {
        sort(&mut kvs, request.sort_target(), order);
    }
    if limit > 0 && kvs.len() > limit {
        kvs.truncate(limit);
        response.more = true;
    }
    if request.keys_only {
        for kv in &mut kvs {
            kv.value = bytes::Bytes::new();
        }
    }
    response.kvs = kvs;
    response.count = count(total);
    Ok(response)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn needs_all(request: &RangeRequest) -> bool {
    request.sort_order != i32::from(SortOrder::None)
        || request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

fn filter(kvs: &mut Vec<KeyValue>, request: &RangeRequest) {
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    if needs_all(request) {
        kvs.retain(|kv| {
            within(
                kv.mod_revision,
                request.min_mod_revision,
                request.max_mod_revision,
            ) && within(
                kv.create_revision,
                request.min_create_revision,
                request.max_create_revision,
            )
        });
    }
}
