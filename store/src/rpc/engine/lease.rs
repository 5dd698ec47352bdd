//! Leases.

use std::time::Duration;

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::store_api::proposal::Command;
use tokio::time::{Instant, sleep};

use super::core::mismatch;
use super::{Caller, Engine};
use crate::apply::Response;
use crate::apply::quota::lease_cost;
use crate::auth::AuthInfo;
use crate::error::{Result, StoreError};

/// How long a leader may take to keep the leases' time, as it may to have applied what is agreed on.
const PRIMARY_WITHIN: Duration = Duration::from_secs(1);

/// How often a new leader looks whether it keeps the leases' time already.
const PRIMARY_POLL: Duration = Duration::from_millis(5);

impl Engine {
    /// Makes a lease.
    pub async fn lease_grant(
        &self,
        caller: Caller,
        mut request: api::LeaseGrantRequest,
    ) -> Result<api::LeaseGrantResponse> {
        self.check_quota(lease_cost()).await?;
        self.shared.auth.check_any(caller.as_ref())?;
        self.shared.lessor.complete(&mut request);
        match self.propose(Command::LeaseGrant(request), caller).await? {
            Response::LeaseGrant(mut response) => {
                self.fill(&mut response.header);
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Ends a lease and deletes its keys.
    pub async fn lease_revoke(
        &self,
        caller: Caller,
        request: api::LeaseRevokeRequest,
    ) -> Result<api::LeaseRevokeResponse> {
        self.shared.auth.check_any(caller.as_ref())?;
        match self.propose(Command::LeaseRevoke(request), caller).await? {
            Response::LeaseRevoke(mut response) => {
                self.fill(&mut response.header);
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Renews a lease; the leader does, whoever is asked. The TTL is 0 when there is no such lease.
    pub async fn lease_renew(
        &self,
        caller: Option<&AuthInfo>,
        id: i64,
    ) -> Result<api::LeaseKeepAliveResponse> {
        // Before the renewal: its revision must not be newer than what the renewal knew (etcd, `v3rpc/lease.go`).
        let header = self.header();
        let ttl = match self.renew(caller, id).await {
            Err(StoreError::LeaseNotFound) => 0,
            ttl => ttl?,
        };
        Ok(api::LeaseKeepAliveResponse {
            header: Some(header),
            id,
            ttl,
        })
    }

    async fn renew(&self, caller: Option<&AuthInfo>, id: i64) -> Result<i64> {
        if self.leadership().is_leader() {
            self.raft.have_applied().await?;
            self.check_renew(caller, id)?;
            match self.shared.lessor.renew(id).await {
                Err(StoreError::NotPrimary) => {}
                renewed => return renewed,
            }
        }
        self.check_renew(caller, id)?;
        self.raft.renew_lease(id).await
    }

    fn check_renew(&self, caller: Option<&AuthInfo>, id: i64) -> Result<()> {
        let auth = &self.shared.auth;
        if !auth.is_enabled() {
            return Ok(());
        }
        let who = caller.ok_or(StoreError::UserEmpty)?;
        auth.check_lease_write(who, id, &*self.shared.mvcc)
    }

    /// Tells what is left of a lease. The TTL is -1 when there is no such lease.
    pub async fn lease_time_to_live(
        &self,
        caller: Caller,
        request: api::LeaseTimeToLiveRequest,
    ) -> Result<api::LeaseTimeToLiveResponse> {
        let auth = &self.shared.auth;
        auth.check_any(caller.as_ref())?;
        let revision = auth.revision();
        if request.keys {
            auth.check_lease_read(caller.as_ref(), request.id, &*self.shared.mvcc)?;
        }
        let mut response = match self.time_to_live(request).await {
            Err(StoreError::LeaseNotFound) => api::LeaseTimeToLiveResponse {
                id: request.id,
                ttl: -1,
                ..api::LeaseTimeToLiveResponse::default()
            },
            response => response?,
        };
        if request.keys && auth.is_enabled() && revision != auth.revision() {
            return Err(StoreError::AuthOldRevision);
        }
        self.fill(&mut response.header);
        Ok(response)
    }

    async fn time_to_live(
        &self,
        request: api::LeaseTimeToLiveRequest,
    ) -> Result<api::LeaseTimeToLiveResponse> {
        let until = Instant::now() + PRIMARY_WITHIN;
        while self.leadership().is_leader() {
            self.raft.have_applied().await?;
            match self.shared.lessor.time_to_live(request) {
                // Elected just now: the lessor follows in a moment.
                Err(StoreError::NotPrimary) if Instant::now() < until => sleep(PRIMARY_POLL).await,
                told => return told,
            }
        }
        self.raft.lease_time_to_live(request).await
    }

    /// All leases that the caller may see.
    pub fn lease_leases(&self, caller: Option<&AuthInfo>) -> Result<api::LeaseLeasesResponse> {
        let auth = &self.shared.auth;
        auth.check_any(caller)?;
        let ids = self.shared.lessor.ids();
        for &id in &ids {
            auth.check_lease_read(caller, id, &*self.shared.mvcc)?;
        }
        Ok(api::LeaseLeasesResponse {
            header: Some(self.header()),
            leases: ids.into_iter().map(|id| api::LeaseStatus { id }).collect(),
        })
    }
}
