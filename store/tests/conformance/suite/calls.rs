//! One method for each call that has one answer.

use super::Case;
use revkeep_schemas::etcd_api::etcdserverpb::auth_client::AuthClient;
use revkeep_schemas::etcd_api::etcdserverpb::cluster_client::ClusterClient;
use revkeep_schemas::etcd_api::etcdserverpb::kv_client::KvClient;
use revkeep_schemas::etcd_api::etcdserverpb::lease_client::LeaseClient;
use revkeep_schemas::etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use revkeep_schemas::etcd_api::etcdserverpb::*;
use revkeep_schemas::etcd_api::v3electionpb::election_client::ElectionClient;
use revkeep_schemas::etcd_api::v3electionpb::*;
use revkeep_schemas::etcd_api::v3lockpb::lock_client::LockClient;
use revkeep_schemas::etcd_api::v3lockpb::*;
use tonic::Status;

/// Larger than any answer that a case asks for.
pub(crate) const LARGEST_ANSWER: usize = 256 << 20;

macro_rules! calls {
    ($($client:ident { $($call:ident($request:ty) -> $answer:ty;)* })*) => {
        impl Case {
            $($(
                /// The call of this name.
                pub(crate) async fn $call(&self, request: $request) -> Result<$answer, Status> {
                    let mut client = $client::with_interceptor(self.channel.clone(), self.with.clone())
                        .max_decoding_message_size(LARGEST_ANSWER);
                    Ok(client.$call(request).await?.into_inner())
                }
            )*)*
        }
    };
}

calls! {
    KvClient {
        range(RangeRequest) -> RangeResponse;
        put(PutRequest) -> PutResponse;
        delete_range(DeleteRangeRequest) -> DeleteRangeResponse;
        txn(TxnRequest) -> TxnResponse;
        compact(CompactionRequest) -> CompactionResponse;
    }
    LeaseClient {
        lease_grant(LeaseGrantRequest) -> LeaseGrantResponse;
        lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse;
        lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse;
        lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse;
    }
    ClusterClient {
        member_add(MemberAddRequest) -> MemberAddResponse;
        member_remove(MemberRemoveRequest) -> MemberRemoveResponse;
        member_update(MemberUpdateRequest) -> MemberUpdateResponse;
        member_list(MemberListRequest) -> MemberListResponse;
        member_promote(MemberPromoteRequest) -> MemberPromoteResponse;
    }
    MaintenanceClient {
        alarm(AlarmRequest) -> AlarmResponse;
        status(StatusRequest) -> StatusResponse;
        defragment(DefragmentRequest) -> DefragmentResponse;
        hash(HashRequest) -> HashResponse;
        hash_kv(HashKvRequest) -> HashKvResponse;
        move_leader(MoveLeaderRequest) -> MoveLeaderResponse;
        downgrade(DowngradeRequest) -> DowngradeResponse;
    }
    AuthClient {
        auth_enable(AuthEnableRequest) -> AuthEnableResponse;
        auth_disable(AuthDisableRequest) -> AuthDisableResponse;
        auth_status(AuthStatusRequest) -> AuthStatusResponse;
        authenticate(AuthenticateRequest) -> AuthenticateResponse;
        user_add(AuthUserAddRequest) -> AuthUserAddResponse;
        user_get(AuthUserGetRequest) -> AuthUserGetResponse;
        user_list(AuthUserListRequest) -> AuthUserListResponse;
        user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
        user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
        user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
        user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
        role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
        role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
        role_list(AuthRoleListRequest) -> AuthRoleListResponse;
        role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
        role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
        role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
    }
    ElectionClient {
        campaign(CampaignRequest) -> CampaignResponse;
        proclaim(ProclaimRequest) -> ProclaimResponse;
        leader(LeaderRequest) -> LeaderResponse;
        resign(ResignRequest) -> ResignResponse;
    }
    LockClient {
        lock(LockRequest) -> LockResponse;
        unlock(UnlockRequest) -> UnlockResponse;
    }
}
