//! What a request needs, operation by operation (etcd, `server/etcdserver/apply_auth.go`).
//!
//! The same checks run twice: on the member that is asked, where they save a round, and where the entry is applied, where
//! they count.

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};

use super::permission::Access;
use super::state::AuthState;
use super::{Auth, AuthInfo};
use crate::error::{Result, StoreError};
use crate::mvcc::Mvcc;

/// The keys that hang on a lease.
pub trait LeaseKeys {
    /// Them; `None` when there is no such lease.
    fn keys_of(&self, lease: i64) -> Option<Vec<Bytes>>;
}

impl LeaseKeys for Mvcc {
    fn keys_of(&self, lease: i64) -> Option<Vec<Bytes>> {
        self.leases().keys(lease).ok()
    }
}

impl Auth {
    /// Whether `who` may access all keys of a range.
    ///
    /// # Errors
    /// [`StoreError::UserEmpty`] without credentials, [`StoreError::AuthOldRevision`] when they are older than the last
    /// change of rights, [`StoreError::PermissionDenied`]. The same holds for the functions below.
    pub fn check(
        &self,
        who: &AuthInfo,
        access: Access,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<()> {
        self.state.read().check(who, access, key, range_end)
    }

    /// Whether `who` may do what only administrators do.
    pub fn check_admin(&self, who: &AuthInfo) -> Result<()> {
        self.state.read().check_admin(who)
    }

    /// Whether there are credentials at all, whoever's.
    pub fn check_any(&self, who: Option<&AuthInfo>) -> Result<()> {
        if who.is_none() && self.is_enabled() {
            return Err(StoreError::UserEmpty);
        }
        Ok(())
    }

    /// Whether `who` may read so.
    pub fn check_range(&self, who: &AuthInfo, request: &RangeRequest) -> Result<()> {
        self.check(who, Access::Read, &request.key, &request.range_end)
    }

    /// Whether `who` may put so.
    pub fn check_put(
        &self,
        who: &AuthInfo,
        request: &PutRequest,
        leases: &dyn LeaseKeys,
    ) -> Result<()> {
        put(&self.state.read(), who, request, leases)
    }

    /// Whether `who` may delete so.
    pub fn check_delete_range(&self, who: &AuthInfo, request: &DeleteRangeRequest) -> Result<()> {
        delete(&self.state.read(), who, request)
    }

    /// Whether `who` may do everything that a transaction might do, whichever branch it takes.
    pub fn check_txn(
        &self,
        who: &AuthInfo,
        request: &TxnRequest,
        leases: &dyn LeaseKeys,
    ) -> Result<()> {
        txn(&self.state.read(), who, request, leases)
    }

    /// Whether `who` may end or renew a lease: needs the right to write all of its keys.
    pub fn check_lease_write(
        &self,
        who: &AuthInfo,
        lease: i64,
        leases: &dyn LeaseKeys,
    ) -> Result<()> {
        lease_write(&self.state.read(), who, lease, leases)
    }

    /// Whether `who` may see the keys of a lease: needs the right to read all of them, or to be an administrator.
    pub fn check_lease_read(
        &self,
        who: Option<&AuthInfo>,
        lease: i64,
        leases: &dyn LeaseKeys,
    ) -> Result<()> {
        let state = self.state.read();
        if !state.enabled {
            return Ok(());
        }
        let who = who.ok_or(StoreError::UserEmpty)?;
        if state.check_admin(who).is_ok() {
            return Ok(());
        }
        for key in leases.keys_of(lease).unwrap_or_default() {
            state.check(who, Access::Read, &key, b"")?;
        }
        Ok(())
    }
}

fn put(
    state: &AuthState,
    who: &AuthInfo,
    request: &PutRequest,
    leases: &dyn LeaseKeys,
) -> Result<()> {
    state.check(who, Access::Write, &request.key, b"")?;
    // Whoever hangs a key on a lease must be able to end the lease.
    lease_write(state, who, request.lease, leases)?;
    if request.prev_kv {
        state.check(who, Access::Read, &request.key, b"")?;
    }
    Ok(())
}

fn delete(state: &AuthState, who: &AuthInfo, request: &DeleteRangeRequest) -> Result<()> {
    state.check(who, Access::Write, &request.key, &request.range_end)?;
    if request.prev_kv {
        state.check(who, Access::Read, &request.key, &request.range_end)?;
    }
    Ok(())
}

fn txn(
    state: &AuthState,
    who: &AuthInfo,
    request: &TxnRequest,
    leases: &dyn LeaseKeys,
) -> Result<()> {
    if !state.enabled {
        return Ok(());
    }
    for compare in &request.compare {
        state.check(who, Access::Read, &compare.key, &compare.range_end)?;
    }
    for operation in request.success.iter().chain(&request.failure) {
        op(state, who, operation, leases)?;
    }
    Ok(())
}

fn op(
    state: &AuthState,
    who: &AuthInfo,
    operation: &RequestOp,
    leases: &dyn LeaseKeys,
) -> Result<()> {
    match &operation.request {
        Some(request_op::Request::RequestRange(range)) => {
            state.check(who, Access::Read, &range.key, &range.range_end)
        }
        Some(request_op::Request::RequestPut(request)) => put(state, who, request, leases),
        Some(request_op::Request::RequestDeleteRange(request)) => delete(state, who, request),
        Some(request_op::Request::RequestTxn(inner)) => txn(state, who, inner, leases),
        None => Ok(()),
    }
}

fn lease_write(
    state: &AuthState,
    who: &AuthInfo,
    lease: i64,
    leases: &dyn LeaseKeys,
) -> Result<()> {
    if lease == 0 || state.check_admin(who).is_ok() {
        return Ok(());
    }
    for key in leases.keys_of(lease).unwrap_or_default() {
        state.check(who, Access::Write, &key, b"")?;
    }
    Ok(())
}
