//! Reads of keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use revkeep_schemas::etcd_api::etcdserverpb::range_request::SortOrder;
use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request;
use revkeep_schemas::etcd_api::etcdserverpb::{
    RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};

use super::Engine;
use crate::auth::AuthInfo;
use crate::error::{Result, StoreError};
use crate::mvcc::Mvcc;
use crate::rpc::Credentials;
use crate::rpc::validate::check_range;

/// Reads of at most so many keys happen where the request is, larger ones where they keep nobody waiting.
const FEW_KEYS: i64 = 128;

impl Engine {
    /// Reads a range of keys. Who asks is found out only once this member is up to date: recognised before, it would be
    /// judged by rights that have been left behind (etcd, `doSerialize`).
    pub async fn range(
        &self,
        credentials: &Credentials,
        request: RangeRequest,
    ) -> Result<RangeResponse> {
        check_range(&request)?;
        if !request.serializable {
            self.raft.read_index().await?;
        }
        let who = self.caller_of(credentials).await?.unwrap_or_default();
        self.shared.auth.check_range(&who, &request)?;
        let few = reads_few(&request);
        let mut response = self.read(few, move |mvcc| mvcc.range(&request)).await?;
        self.still_permitted(&who)?;
        self.fill(&mut response.header);
        Ok(response)
    }

    pub(super) async fn read_txn(
        &self,
        credentials: &Credentials,
        request: TxnRequest,
    ) -> Result<TxnResponse> {
        if !is_serializable(&request) {
            self.raft.read_index().await?;
        }
        let who = self.caller_of(credentials).await?.unwrap_or_default();
        let auth = &self.shared.auth;
        auth.check_txn(&who, &request, &*self.shared.mvcc)?;
        let single = |operation: &RequestOp| matches!(&operation.request, Some(Request::RequestRange(range)) if range.range_end.is_empty());
        let few = operations(&request).all(single)
            && request
                .compare
                .iter()
                .all(|condition| condition.range_end.is_empty());
        let mut response = self.read(few, move |mvcc| mvcc.txn_read(&request)).await?;
        self.still_permitted(&who)?;
        self.fill(&mut response.header);
        Ok(response)
    }

    async fn read<T: Send + 'static>(
        &self,
        few: bool,
        read: impl FnOnce(&Mvcc) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        let mvcc = Arc::clone(&self.shared.mvcc);
        if few {
            read(&mvcc)
        } else {
            self.options.executor.run(move || read(&mvcc)).await?
        }
    }

    /// Rights may have changed while the answer was put together.
    fn still_permitted(&self, who: &AuthInfo) -> Result<()> {
        if who.revision != 0 && who.revision != self.shared.auth.revision() {
            return Err(StoreError::AuthOldRevision);
        }
        Ok(())
    }
}

/// Whether few rows are read, however many keys the range has. What is sorted or filtered is read whole before the limit
/// cuts it.
fn reads_few(request: &RangeRequest) -> bool {
    let cut_first = request.sort_order == i32::from(SortOrder::None)
        && request.min_mod_revision == 0
        && request.max_mod_revision == 0
        && request.min_create_revision == 0
        && request.max_create_revision == 0;
    request.range_end.is_empty() || (cut_first && (1..=FEW_KEYS).contains(&request.limit))
}

fn operations(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

/// Whether every operation of a transaction is a serializable read.
fn is_serializable(request: &TxnRequest) -> bool {
    operations(request).all(|operation| {
        matches!(&operation.request, Some(Request::RequestRange(range)) if range.serializable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sorted_or_filtered_is_read_whole() {
        let limited = RangeRequest {
            key: "a".into(),
            range_end: "b".into(),
            limit: 1,
            ..RangeRequest::default()
        };
        assert!(reads_few(&limited));
        assert!(!reads_few(&RangeRequest {
            limit: 0,
            ..limited.clone()
        }));
        assert!(!reads_few(&RangeRequest {
            sort_order: SortOrder::Descend.into(),
            ..limited.clone()
        }));
        assert!(!reads_few(&RangeRequest {
            max_create_revision: 7,
            ..limited
        }));
    }
}
