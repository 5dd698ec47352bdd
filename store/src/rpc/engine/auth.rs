//! Users, roles, rights, and logging in.

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::store_api::AuthenticateWithToken;
use revkeep_schemas::store_api::proposal::Command;

use super::core::mismatch;
use super::{Caller, Engine};
use crate::apply::Response;
use crate::auth::AuthInfo;
use crate::error::Result;

/// A change of users, roles or rights: propose the command, take the response of the same name.
macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident($request:ty) -> $response:ty = $kind:ident;)*) => {
        impl Engine {
            $($(#[$doc])*
            pub async fn $name(&self, caller: Caller, request: $request) -> Result<$response> {
                match self.propose(Command::$kind(request), caller).await? {
                    Response::$kind(mut response) => {
                        self.fill(&mut response.header);
                        Ok(response)
                    }
                    other => Err(mismatch(&other)),
                }
            })*
        }
    };
}

changes! {
    /// Turns authentication on.
    auth_enable(api::AuthEnableRequest) -> api::AuthEnableResponse = AuthEnable;
    /// Turns authentication off.
    auth_disable(api::AuthDisableRequest) -> api::AuthDisableResponse = AuthDisable;
    /// Deletes a user.
    user_delete(api::AuthUserDeleteRequest) -> api::AuthUserDeleteResponse = AuthUserDelete;
    /// Gives a user a role.
    user_grant_role(api::AuthUserGrantRoleRequest) -> api::AuthUserGrantRoleResponse = AuthUserGrantRole;
    /// Takes a role from a user.
    user_revoke_role(api::AuthUserRevokeRoleRequest) -> api::AuthUserRevokeRoleResponse = AuthUserRevokeRole;
    /// Makes a role.
    role_add(api::AuthRoleAddRequest) -> api::AuthRoleAddResponse = AuthRoleAdd;
    /// Deletes a role.
    role_delete(api::AuthRoleDeleteRequest) -> api::AuthRoleDeleteResponse = AuthRoleDelete;
    /// Gives a role a right.
    role_grant_permission(api::AuthRoleGrantPermissionRequest) -> api::AuthRoleGrantPermissionResponse = AuthRoleGrantPermission;
    /// Takes a right from a role.
    role_revoke_permission(api::AuthRoleRevokePermissionRequest) -> api::AuthRoleRevokePermissionResponse = AuthRoleRevokePermission;
    /// Makes a user whose password is hashed already.
    user_add_hashed(api::AuthUserAddRequest) -> api::AuthUserAddResponse = AuthUserAdd;
    /// Changes a password that is hashed already.
    user_change_hashed(api::AuthUserChangePasswordRequest) -> api::AuthUserChangePasswordResponse = AuthUserChangePassword;
}

/// What is read of users and roles. etcd sends these through the log; waiting for the read index comes to the same.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident($($field:ident: &str)?) -> $response:ty = $read:ident;)*) => {
        impl Engine {
            $($(#[$doc])*
            pub async fn $name(&self, caller: Caller $(, $field: &str)?) -> Result<$response> {
                self.raft.read_index().await?;
                let who = caller.unwrap_or_default();
                let mut response = self.shared.auth.$read(&who $(, $field)?)?;
                self.fill(&mut response.header);
                Ok(response)
            })*
        }
    };
}

reads! {
    /// Whether authentication is on.
    auth_status() -> api::AuthStatusResponse = status;
    /// The roles of a user.
    user_get(name: &str) -> api::AuthUserGetResponse = user_get;
    /// All users.
    user_list() -> api::AuthUserListResponse = user_list;
    /// The rights of a role.
    role_get(role: &str) -> api::AuthRoleGetResponse = role_get;
    /// All roles.
    role_list() -> api::AuthRoleListResponse = role_list;
}

impl Engine {
    /// Whether the caller is an administrator; everybody is while authentication is off.
    pub fn check_admin(&self, caller: Option<&AuthInfo>) -> Result<()> {
        match caller {
            Some(who) => self.shared.auth.check_admin(who),
            None => self.shared.auth.check_admin(&AuthInfo::default()),
        }
    }

    /// Makes a user. The password is hashed here, so that the log never holds it.
    pub async fn user_add(
        &self,
        caller: Caller,
        mut request: api::AuthUserAddRequest,
    ) -> Result<api::AuthUserAddResponse> {
        self.shared.auth.hash_new_user(&mut request).await?;
        self.user_add_hashed(caller, request).await
    }

    /// Changes a password.
    pub async fn user_change_password(
        &self,
        caller: Caller,
        mut request: api::AuthUserChangePasswordRequest,
    ) -> Result<api::AuthUserChangePasswordResponse> {
        self.shared.auth.hash_new_password(&mut request).await?;
        self.user_change_hashed(caller, request).await
    }

    /// Logs a user in. If rights change between the look at the password and the making of the token, it begins again.
    pub async fn authenticate(
        &self,
        request: api::AuthenticateRequest,
    ) -> Result<api::AuthenticateResponse> {
        self.raft.read_index().await?;
        let auth = &self.shared.auth;
        loop {
            let password = request.password.clone();
            let revision = auth.check_password(&request.name, password).await?;
            let command = Command::Authenticate(AuthenticateWithToken {
                user: request.name.clone(),
                token: auth.propose_token(&request.name, revision)?,
            });
            match self.propose(command, None).await? {
                Response::Authenticate(mut response) => {
                    if revision == auth.revision() {
                        self.fill(&mut response.header);
                        return Ok(response);
                    }
                }
                other => return Err(mismatch(&other)),
            }
        }
    }
}
