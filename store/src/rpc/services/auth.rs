//! The service Auth.

use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::auth_server::Auth;
use tonic::{Request, Response, Status};

use super::unary;
use crate::rpc::engine::Engine;

/// The service Auth.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct AuthService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn authenticate(
        &self,
        request: Request<api::AuthenticateRequest>,
    ) -> Result<Response<api::AuthenticateResponse>, Status> {
        let response = self.engine.authenticate(request.into_inner()).await?;
        Ok(Response::new(response))
    }

    unary! {
        auth_enable(api::AuthEnableRequest) -> api::AuthEnableResponse = |engine, caller, message| engine.auth_enable(caller, message).await;
        auth_disable(api::AuthDisableRequest) -> api::AuthDisableResponse = |engine, caller, message| engine.auth_disable(caller, message).await;
        auth_status(api::AuthStatusRequest) -> api::AuthStatusResponse = |engine, caller, _message| engine.auth_status(caller).await;
        user_add(api::AuthUserAddRequest) -> api::AuthUserAddResponse = |engine, caller, message| engine.user_add(caller, message).await;
        user_get(api::AuthUserGetRequest) -> api::AuthUserGetResponse = |engine, caller, message| engine.user_get(caller, &message.name).await;
        user_list(api::AuthUserListRequest) -> api::AuthUserListResponse = |engine, caller, _message| engine.user_list(caller).await;
        user_delete(api::AuthUserDeleteRequest) -> api::AuthUserDeleteResponse = |engine, caller, message| engine.user_delete(caller, message).await;
        user_change_password(api::AuthUserChangePasswordRequest) -> api::AuthUserChangePasswordResponse = |engine, caller, message| engine.user_change_password(caller, message).await;
        user_grant_role(api::AuthUserGrantRoleRequest) -> api::AuthUserGrantRoleResponse = |engine, caller, message| engine.user_grant_role(caller, message).await;
        user_revoke_role(api::AuthUserRevokeRoleRequest) -> api::AuthUserRevokeRoleResponse = |engine, caller, message| engine.user_revoke_role(caller, message).await;
        role_add(api::AuthRoleAddRequest) -> api::AuthRoleAddResponse = |engine, caller, message| engine.role_add(caller, message).await;
        role_get(api::AuthRoleGetRequest) -> api::AuthRoleGetResponse = |engine, caller, message| engine.role_get(caller, &message.role).await;
        role_list(api::AuthRoleListRequest) -> api::AuthRoleListResponse = |engine, caller, _message| engine.role_list(caller).await;
        role_delete(api::AuthRoleDeleteRequest) -> api::AuthRoleDeleteResponse = |engine, caller, message| engine.role_delete(caller, message).await;
        role_grant_permission(api::AuthRoleGrantPermissionRequest) -> api::AuthRoleGrantPermissionResponse = |engine, caller, message| engine.role_grant_permission(caller, message).await;
        role_revoke_permission(api::AuthRoleRevokePermissionRequest) -> api::AuthRoleRevokePermissionResponse = |engine, caller, message| engine.role_revoke_permission(caller, message).await;
    }
}
