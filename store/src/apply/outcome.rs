//! What a command comes to.

use revkeep_schemas::etcd_api::etcdserverpb::{
    AlarmResponse, AuthDisableResponse, AuthEnableResponse, AuthRoleAddResponse,
    AuthRoleDeleteResponse, AuthRoleGrantPermissionResponse, AuthRoleRevokePermissionResponse,
    AuthUserAddResponse, AuthUserChangePasswordResponse, AuthUserDeleteResponse,
    AuthUserGrantRoleResponse, AuthUserRevokeRoleResponse, AuthenticateResponse,
    CompactionResponse, DeleteRangeResponse, LeaseCheckpointResponse, LeaseGrantResponse,
    LeaseRevokeResponse, PutResponse, TxnResponse,
};

use crate::error::Result;
use crate::mvcc::CompactionTicket;

/// What a command comes to on the member that applies it.
pub type Outcome = Result<Response>;

/// The answer to a command: etcd's. Of the header only the revision is set; the rest is the server's.
#[derive(Debug)]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a deletion.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction, with what tells when the rows are gone from the disk.
    Compaction(CompactionResponse, CompactionTicket),
    /// To the grant of a lease.
    LeaseGrant(LeaseGrantResponse),
    /// To the end of a lease.
    LeaseRevoke(LeaseRevokeResponse),
    /// To a note of the leases' time.
    LeaseCheckpoint(LeaseCheckpointResponse),
    /// To an alarm.
    Alarm(AlarmResponse),
    /// Authentication is on.
    AuthEnable(AuthEnableResponse),
    /// Authentication is off.
    AuthDisable(AuthDisableResponse),
    /// The token.
    Authenticate(AuthenticateResponse),
    /// The user is made.
    AuthUserAdd(AuthUserAddResponse),
    /// The user is deleted.
    AuthUserDelete(AuthUserDeleteResponse),
    /// The password is changed.
    AuthUserChangePassword(AuthUserChangePasswordResponse),
    /// The user holds the role.
    AuthUserGrantRole(AuthUserGrantRoleResponse),
    /// The user no longer holds the role.
    AuthUserRevokeRole(AuthUserRevokeRoleResponse),
    /// The role is made.
    AuthRoleAdd(AuthRoleAddResponse),
    /// The role is deleted.
    AuthRoleDelete(AuthRoleDeleteResponse),
    /// The role has the right.
    AuthRoleGrantPermission(AuthRoleGrantPermissionResponse),
    /// The role no longer has the right.
    AuthRoleRevokePermission(AuthRoleRevokePermissionResponse),
    /// To a command of the members among themselves.
    None,
}
