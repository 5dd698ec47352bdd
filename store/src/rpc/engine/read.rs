//! Reads of keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use revkeep_schemas::etcd_api::etcdserverpb::request_op::Request;
use revkeep_schemas::etcd_api::etcdserverpb::{
    RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};

use super::{Caller, Engine};
use crate::auth::AuthInfo;
use crate::error::{Result, StoreError};
use crate::mvcc::Mvcc;
use crate::rpc::validate::check_range;

/// Reads of at most so many keys happen where the request is, larger ones where they keep nobody waiting.
const FEW_KEYS: i64 = 128;

impl Engine {
    /// Reads a range of keys.
    pub async fn range(&self, caller: Caller, request: RangeRequest) -> Result<RangeResponse> {
        check_range(&request)?;
        self.range_unchecked(caller, request).await
    }

    /// The same without a look at the shape of the request.
    pub(super) async fn range_unchecked(
        &self,
        caller: Caller,
        request: RangeRequest,
    ) -> Result<RangeResponse> {
        if !request.serializable {
            self.raft.read_index().await?;
        }
        let who = caller.unwrap_or_default();
        self.shared.auth.check_range(&who, &request)?;
        let few = request.range_end.is_empty() || (1..=FEW_KEYS).contains(&request.limit);
        let mut response = self.read(few, move |mvcc| mvcc.range(&request)).await?;
        self.still_permitted(&who)?;
        self.fill(&mut response.header);
        Ok(response)
    }

    pub(super) async fn read_txn(
        &self,
        caller: Caller,
        request: TxnRequest,
    ) -> Result<TxnResponse> {
        if !is_serializable(&request) {
            self.raft.read_index().await?;
        }
        let who = caller.unwrap_or_default();
        let auth = &self.shared.auth;
        auth.check_txn(&who, &request, &*self.shared.mvcc)?;
        let few = operations(&request).all(|operation| match &operation.request {
            Some(Request::RequestRange(range)) => range.range_end.is_empty(),
            _ => true,
        });
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

fn operations(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

/// Whether every operation of a transaction is a serializable read.
fn is_serializable(request: &TxnRequest) -> bool {
    operations(request).all(|operation| {
        matches!(&operation.request, Some(Request::RequestRange(range)) if range.serializable)
    })
}
