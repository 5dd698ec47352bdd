//! Changes of keys.

use revkeep_schemas::etcd_api::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use revkeep_schemas::store_api::proposal::Command;

use super::Engine;
use super::core::mismatch;
use crate::apply::Response;
use crate::apply::quota::{put_cost, txn_cost};
use crate::error::{Result, StoreError};
use crate::mvcc::txn_is_read_only;
use crate::rpc::Credentials;
use crate::rpc::validate::{check_delete, check_put, check_txn, put_bytes};

/// A request is looked at before it is asked who sent it, as in etcd.
impl Engine {
    /// Writes one key.
    pub async fn put(&self, credentials: &Credentials, request: PutRequest) -> Result<PutResponse> {
        self.check_quota(put_cost(&request)).await?;
        check_put(&request)?;
        let caller = self.caller_of(credentials).await?;
        self.check_size(&request)?;
        match self.propose(Command::Put(request), caller).await? {
            Response::Put(mut response) => {
                self.fill(&mut response.header);
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Deletes keys.
    pub async fn delete_range(
        &self,
        credentials: &Credentials,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse> {
        check_delete(&request)?;
        let caller = self.caller_of(credentials).await?;
        self.check_size(&request)?;
        match self.propose(Command::DeleteRange(request), caller).await? {
            Response::DeleteRange(mut response) => {
                self.fill(&mut response.header);
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Runs a transaction; one that only reads is a read.
    pub async fn txn(&self, credentials: &Credentials, request: TxnRequest) -> Result<TxnResponse> {
        self.check_quota(txn_cost(&request)).await?;
        check_txn(&request, self.options.max_txn_ops)?;
        if txn_is_read_only(&request) {
            return self.read_txn(credentials, request).await;
        }
        let caller = self.caller_of(credentials).await?;
        self.check_size(&request)?;
        match self.propose(Command::Txn(request), caller).await? {
            Response::Txn(mut response) => {
                self.fill(&mut response.header);
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Refuses what the database has no room for, and raises the alarm that lets all members refuse it (etcd,
    /// `server/etcdserver/api/v3rpc/quota.go`).
    pub(super) async fn check_quota(&self, cost: usize) -> Result<()> {
        let size = || self.shared.backend.size_bytes();
        if cost == 0 || self.options.quota.allows(size(), cost) {
            return Ok(());
        }
        self.raise_no_space().await;
        Err(StoreError::NoSpace)
    }

    fn check_size(&self, request: &impl prost::Message) -> Result<()> {
        if put_bytes(request) > self.options.max_request_bytes {
            return Err(StoreError::RequestTooLarge);
        }
        Ok(())
    }
}
