//! One command after the other.

use revkeep_schemas::etcd_api::etcdserverpb::{
    AlarmType, AuthDisableResponse, AuthEnableResponse, AuthRoleAddResponse,
    AuthRoleDeleteResponse, AuthRoleGrantPermissionResponse, AuthRoleRevokePermissionResponse,
    AuthUserAddResponse, AuthUserChangePasswordResponse, AuthUserDeleteResponse,
    AuthUserGrantRoleResponse, AuthUserRevokeRoleResponse, AuthenticateResponse, CompactionRequest,
    CompactionResponse, DeleteRangeRequest, LeaseCheckpointRequest, LeaseCheckpointResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest,
    ResponseHeader, TxnRequest,
};
use revkeep_schemas::store_api::{Proposal, proposal::Command};

use super::quota::{lease_cost, put_cost, txn_cost};
use super::{Applier, Outcome, Response};
use crate::auth::AuthInfo;
use crate::backend::Position;
use crate::error::{Result, StoreError};

impl Applier {
    /// Applies the commands of one entry. A failure of the disk stops the member; anything else is an outcome.
    pub(super) fn commands(&self, at: Position, proposals: &[Proposal]) -> Result<Vec<Outcome>> {
        let outcomes = proposals.iter().map(|proposal| {
            let outcome = self.command(at, proposal);
            match outcome {
                Err(error) if error.is_fatal() => Err(error),
                outcome => Ok(outcome),
            }
        });
        outcomes.collect()
    }

    fn command(&self, at: Position, proposal: &Proposal) -> Outcome {
        let who = AuthInfo::new(proposal.user.as_str(), proposal.auth_revision);
        let Some(command) = &proposal.command else {
            return Err(StoreError::internal("a log entry holds an unknown command"));
        };
        match command {
            Command::Put(request) => self.put(&who, request),
            Command::DeleteRange(request) => self.delete_range(&who, request),
            Command::Txn(request) => self.txn(&who, request),
            Command::Compaction(request) => self.compact(*request),
            Command::LeaseGrant(request) => self.lease_grant(*request),
            Command::LeaseRevoke(request) => self.lease_revoke(&who, *request),
            Command::LeaseCheckpoint(request) => Ok(self.lease_checkpoint(request)),
            Command::Alarm(request) => {
                let mut response = self.shared.alarms.apply(request);
                response.header = self.header();
                Ok(Response::Alarm(response))
            }
            Command::MemberAttributes(attributes) => {
                self.shared.members.set_attributes(attributes);
                Ok(Response::None)
            }
            Command::ClusterVersion(version) => {
                self.shared.members.set_cluster_version(&version.version);
                Ok(Response::None)
            }
            Command::Authenticate(login) => {
                let token = self
                    .shared
                    .auth
                    .authenticate(&login.user, &login.token, at.index)?;
                Ok(Response::Authenticate(AuthenticateResponse {
                    header: self.header(),
                    token,
                }))
            }
            command => self.auth_change(&who, command),
        }
    }

    fn put(&self, who: &AuthInfo, request: &PutRequest) -> Outcome {
        let shared = &self.shared;
        self.refuse_if_corrupt()?;
        self.refuse_if_full()?;
        shared.auth.check_put(who, request, &*shared.mvcc)?;
        let fits = self.fits(put_cost(request));
        let response = shared.mvcc.put(request)?;
        // As in etcd: it is done, and the client learns that it was the last one.
        fits.map(|()| Response::Put(response))
    }

    fn delete_range(&self, who: &AuthInfo, request: &DeleteRangeRequest) -> Outcome {
        self.refuse_if_corrupt()?;
        self.shared.auth.check_delete_range(who, request)?;
        self.shared
            .mvcc
            .delete_range(request)
            .map(Response::DeleteRange)
    }

    fn txn(&self, who: &AuthInfo, request: &TxnRequest) -> Outcome {
        let shared = &self.shared;
        self.refuse_if_corrupt()?;
        let cost = txn_cost(request);
        if cost > 0 {
            self.refuse_if_full()?;
        }
        shared.auth.check_txn(who, request, &*shared.mvcc)?;
        let fits = self.fits(cost);
        let response = shared.mvcc.txn(request)?;
        fits.map(|()| Response::Txn(response))
    }

    fn compact(&self, request: CompactionRequest) -> Outcome {
        self.refuse_if_corrupt()?;
        let ticket = self.shared.mvcc.compact(request.revision)?;
        let response = CompactionResponse {
            header: self.header(),
        };
        Ok(Response::Compaction(response, ticket))
    }

    fn lease_grant(&self, request: LeaseGrantRequest) -> Outcome {
        let shared = &self.shared;
        self.refuse_if_corrupt()?;
        self.refuse_if_full()?;
        let fits = self.fits(lease_cost());
        let lease = shared.mvcc.leases().grant(request.id, request.ttl)?;
        shared.lessor.granted(lease);
        fits.map(|()| {
            Response::LeaseGrant(LeaseGrantResponse {
                header: self.header(),
                id: lease.id,
                ttl: lease.ttl_s,
                error: String::new(),
            })
        })
    }

    fn lease_revoke(&self, who: &AuthInfo, request: LeaseRevokeRequest) -> Outcome {
        let shared = &self.shared;
        self.refuse_if_corrupt()?;
        shared
            .auth
            .check_lease_write(who, request.id, &*shared.mvcc)?;
        shared.mvcc.revoke_lease(request.id)?;
        shared.lessor.revoked(request.id);
        Ok(Response::LeaseRevoke(LeaseRevokeResponse {
            header: self.header(),
        }))
    }

    fn lease_checkpoint(&self, request: &LeaseCheckpointRequest) -> Response {
        let shared = &self.shared;
        for checkpoint in &request.checkpoints {
            // A lease may have ended meanwhile.
            shared
                .mvcc
                .leases()
                .checkpoint(checkpoint.id, checkpoint.remaining_ttl);
            shared.lessor.checkpointed(checkpoint.id);
        }
        Response::LeaseCheckpoint(LeaseCheckpointResponse {
            header: self.header(),
        })
    }

    /// Changes of users, roles and rights, which only administrators may make.
    fn auth_change(&self, who: &AuthInfo, command: &Command) -> Outcome {
        let auth = &self.shared.auth;
        auth.check_admin(who)?;
        let header = self.header();
        Ok(match command {
            Command::AuthEnable(_) => {
                auth.enable()?;
                Response::AuthEnable(AuthEnableResponse { header })
            }
            Command::AuthDisable(_) => {
                auth.disable();
                Response::AuthDisable(AuthDisableResponse { header })
            }
            Command::AuthUserAdd(request) => {
                auth.user_add(request)?;
                Response::AuthUserAdd(AuthUserAddResponse { header })
            }
            Command::AuthUserDelete(request) => {
                auth.user_delete(request)?;
                Response::AuthUserDelete(AuthUserDeleteResponse { header })
            }
            Command::AuthUserChangePassword(request) => {
                auth.user_change_password(request)?;
                Response::AuthUserChangePassword(AuthUserChangePasswordResponse { header })
            }
            Command::AuthUserGrantRole(request) => {
                auth.user_grant_role(request)?;
                Response::AuthUserGrantRole(AuthUserGrantRoleResponse { header })
            }
            Command::AuthUserRevokeRole(request) => {
                auth.user_revoke_role(request)?;
                Response::AuthUserRevokeRole(AuthUserRevokeRoleResponse { header })
            }
            Command::AuthRoleAdd(request) => {
                auth.role_add(request)?;
                Response::AuthRoleAdd(AuthRoleAddResponse { header })
            }
            Command::AuthRoleDelete(request) => {
                auth.role_delete(request)?;
                Response::AuthRoleDelete(AuthRoleDeleteResponse { header })
            }
            Command::AuthRoleGrantPermission(request) => {
                auth.role_grant_permission(request)?;
                Response::AuthRoleGrantPermission(AuthRoleGrantPermissionResponse { header })
            }
            Command::AuthRoleRevokePermission(request) => {
                auth.role_revoke_permission(request)?;
                Response::AuthRoleRevokePermission(AuthRoleRevokePermissionResponse { header })
            }
            // The caller has taken all others.
            _ => return Err(StoreError::internal("no command of authentication")),
        })
    }

    /// While an alarm says that the members differ, nothing of the keys may change (etcd,
    /// `server/etcdserver/corrupt.go`).
    fn refuse_if_corrupt(&self) -> Result<()> {
        if self.shared.alarms.is_raised(AlarmType::Corrupt) {
            return Err(StoreError::Corrupt);
        }
        Ok(())
    }

    /// While an alarm says that the database is full, nothing may be added; deleting and compacting make room (etcd,
    /// `server/etcdserver/apply.go`, `applierV3Capped`).
    fn refuse_if_full(&self) -> Result<()> {
        if self.shared.alarms.is_raised(AlarmType::Nospace) {
            return Err(StoreError::NoSpace);
        }
        Ok(())
    }

    fn fits(&self, cost: usize) -> Result<()> {
        if self.quota.allows(self.shared.backend.size_bytes(), cost) {
            Ok(())
        } else {
            Err(StoreError::NoSpace)
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "headers are optional in messages")]
    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            revision: self.shared.mvcc.revision(),
            ..ResponseHeader::default()
        })
    }
}
