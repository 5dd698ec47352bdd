//! What is known of users and roles, and who may see it.

use revkeep_schemas::etcd_api::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse,
    AuthUserListResponse,
};

use super::{Auth, AuthInfo};
use crate::error::{Result, StoreError};

/// The answers come without a header; the caller has made sure that this member is up to date.
impl Auth {
    /// Whether authentication is on, and the revision of users, roles and rights.
    ///
    /// # Errors
    /// Unless `who` is an administrator.
    pub fn status(&self, who: &AuthInfo) -> Result<AuthStatusResponse> {
        let state = self.state.read();
        state.check_admin(who)?;
        Ok(AuthStatusResponse {
            header: None,
            enabled: state.enabled,
            auth_revision: state.revision,
        })
    }

    /// The roles of a user.
    ///
    /// # Errors
    /// Unless `who` is that user or an administrator; an unknown user.
    pub fn user_get(&self, who: &AuthInfo, name: &str) -> Result<AuthUserGetResponse> {
        let state = self.state.read();
        if let Err(error) = state.check_admin(who)
            && name != who.user
        {
            return Err(error);
        }
        let entry = state.users.get(name).ok_or(StoreError::UserNotFound)?;
        Ok(AuthUserGetResponse {
            header: None,
            roles: entry.user.roles.clone(),
        })
    }

    /// The names of all users.
    ///
    /// # Errors
    /// Unless `who` is an administrator.
    pub fn user_list(&self, who: &AuthInfo) -> Result<AuthUserListResponse> {
        let state = self.state.read();
        state.check_admin(who)?;
        Ok(AuthUserListResponse {
            header: None,
            users: state.users.keys().cloned().collect(),
        })
    }

    /// The rights of a role.
    ///
    /// # Errors
    /// Unless `who` holds the role or is an administrator; an unknown role.
    pub fn role_get(&self, who: &AuthInfo, name: &str) -> Result<AuthRoleGetResponse> {
        let state = self.state.read();
        if let Err(error) = state.check_admin(who) {
            let holder = state.users.get(&who.user);
            if !holder.is_some_and(|holder| holder.user.roles.iter().any(|role| role == name)) {
                return Err(error);
            }
        }
        let role = state.roles.get(name).ok_or(StoreError::RoleNotFound)?;
        Ok(AuthRoleGetResponse {
            header: None,
            perm: role.key_permission.clone(),
        })
    }

    /// The names of all roles.
    ///
    /// # Errors
    /// Unless `who` is an administrator.
    pub fn role_list(&self, who: &AuthInfo) -> Result<AuthRoleListResponse> {
        let state = self.state.read();
        state.check_admin(who)?;
        Ok(AuthRoleListResponse {
            header: None,
            roles: state.roles.keys().cloned().collect(),
        })
    }
}
