//! Changes of users, roles and rights, as applied log entries make them on every member.
//!
//! Order of the checks, what counts as a change of the revision, and the bytes in the buckets are etcd's (etcd,
//! `server/auth/store.go`).

use bytes::Bytes;
use prost::Message as _;
use revkeep_schemas::etcd_api::authpb::{Permission, Role, User};
use revkeep_schemas::etcd_api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
};

use super::permission::is_valid_range;
use super::state::{AuthState, ENABLED, REVISION};
use super::{Auth, ROOT, password};
use crate::backend::Bucket;
use crate::error::{Result, StoreError};

impl Auth {
    /// Turns authentication on.
    ///
    /// # Errors
    /// [`StoreError::RootUserNotExist`] and [`StoreError::RootRoleNotExist`], so that somebody can turn it off again.
    pub fn enable(&self) -> Result<()> {
        let mut state = self.state.write();
        if state.enabled {
            return Ok(());
        }
        let root = state.users.get(ROOT).ok_or(StoreError::RootUserNotExist)?;
        if !root.is_root() {
            return Err(StoreError::RootRoleNotExist);
        }
        state.enabled = true;
        self.put(Bucket::Auth, ENABLED, vec![1]);
        self.tokens.enable();
        tracing::info!("enabled authentication");
        Ok(())
    }

    /// Turns authentication off and forgets all simple tokens.
    pub fn disable(&self) {
        let mut state = self.state.write();
        if !state.enabled {
            return;
        }
        state.enabled = false;
        self.put(Bucket::Auth, ENABLED, vec![0]);
        self.next_revision(&mut state);
        self.tokens.disable();
        tracing::info!("disabled authentication");
    }

    /// Makes the token of a user whose password was right; `proposed` comes from [`Auth::propose_token`] of the member
    /// that was asked, `index` is that of the log entry.
    ///
    /// # Errors
    /// When authentication is off, or the user is gone or has no password.
    pub fn authenticate(&self, user: &str, proposed: &str, index: u64) -> Result<String> {
        let state = self.state.read();
        if !state.enabled {
            return Err(StoreError::AuthNotEnabled);
        }
        let entry = state.users.get(user).ok_or(StoreError::AuthFailed)?;
        if entry.has_no_password() {
            return Err(StoreError::AuthFailed);
        }
        Ok(self.tokens.assign(user, proposed, index))
    }

    /// Makes a user.
    ///
    /// # Errors
    /// An empty name, a name that is taken, a hash that is not base64.
    pub fn user_add(&self, request: &AuthUserAddRequest) -> Result<()> {
        if request.name.is_empty() {
            return Err(StoreError::UserEmpty);
        }
        let mut state = self.state.write();
        if state.users.contains_key(&request.name) {
            return Err(StoreError::UserAlreadyExists);
        }
        let options = request.options.unwrap_or_default();
        let password = if options.no_password {
            Bytes::new()
        } else {
            hashed(&request.password, &request.hashed_password)?
        };
        let user = User {
            name: request.name.clone().into(),
            password,
            roles: Vec::new(),
            options: Some(options),
        };
        self.put_user(&mut state, &request.name, user);
        self.next_revision(&mut state);
        tracing::info!(user = request.name, "added a user");
        Ok(())
    }

    /// Deletes a user, who is logged out.
    ///
    /// # Errors
    /// An unknown user; root while authentication is on.
    pub fn user_delete(&self, request: &AuthUserDeleteRequest) -> Result<()> {
        let mut state = self.state.write();
        if state.enabled && request.name == ROOT {
            return Err(StoreError::InvalidAuthMgmt);
        }
        if state.users.remove(&request.name).is_none() {
            return Err(StoreError::UserNotFound);
        }
        self.backend
            .delete(Bucket::AuthUsers, request.name.clone().into());
        self.next_revision(&mut state);
        self.tokens.invalidate(&request.name);
        tracing::info!(user = request.name, "deleted a user");
        Ok(())
    }

    /// Gives a user a new password; the user's tokens end.
    ///
    /// # Errors
    /// An unknown user, a hash that is not base64.
    pub fn user_change_password(&self, request: &AuthUserChangePasswordRequest) -> Result<()> {
        let mut state = self.state.write();
        let entry = state
            .users
            .get(&request.name)
            .ok_or(StoreError::UserNotFound)?;
        let mut user = entry.user.clone();
        user.password = if entry.has_no_password() {
            Bytes::new()
        } else {
            hashed(&request.password, &request.hashed_password)?
        };
        self.put_user(&mut state, &request.name, user);
        self.next_revision(&mut state);
        self.tokens.invalidate(&request.name);
        tracing::info!(user = request.name, "changed a password of a user");
        Ok(())
    }

    /// Gives a user a role. A role that the user has already is no change.
    ///
    /// # Errors
    /// An unknown user or role; the role `root` need not exist.
    pub fn user_grant_role(&self, request: &AuthUserGrantRoleRequest) -> Result<()> {
        let mut state = self.state.write();
        let entry = state
            .users
            .get(&request.user)
            .ok_or(StoreError::UserNotFound)?;
        if request.role != ROOT && !state.roles.contains_key(&request.role) {
            return Err(StoreError::RoleNotFound);
        }
        let Err(place) = entry.user.roles.binary_search(&request.role) else {
            return Ok(());
        };
        let mut user = entry.user.clone();
        user.roles.insert(place, request.role.clone());
        self.put_user(&mut state, &request.user, user);
        self.next_revision(&mut state);
        tracing::info!(
            user = request.user,
            role = request.role,
            "granted a role to a user"
        );
        Ok(())
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// An unknown user, a role that the user does not have; root's own while authentication is on.
    pub fn user_revoke_role(&self, request: &AuthUserRevokeRoleRequest) -> Result<()> {
        let mut state = self.state.write();
        if state.enabled && request.name == ROOT && request.role == ROOT {
            return Err(StoreError::InvalidAuthMgmt);
        }
        let entry = state
            .users
            .get(&request.name)
            .ok_or(StoreError::UserNotFound)?;
        let mut user = entry.user.clone();
        user.roles.retain(|role| *role != request.role);
        if user.roles.len() == entry.user.roles.len() {
            return Err(StoreError::RoleNotGranted);
        }
        self.put_user(&mut state, &request.name, user);
        self.next_revision(&mut state);
        tracing::info!(
            user = request.name,
            role = request.role,
            "revoked a role from a user"
        );
        Ok(())
    }

    /// Makes a role.
    ///
    /// # Errors
    /// An empty name, a name that is taken.
    pub fn role_add(&self, request: &AuthRoleAddRequest) -> Result<()> {
        if request.name.is_empty() {
            return Err(StoreError::RoleEmpty);
        }
        let mut state = self.state.write();
        if state.roles.contains_key(&request.name) {
            return Err(StoreError::RoleAlreadyExists);
        }
        let role = Role {
            name: request.name.clone().into(),
            key_permission: Vec::new(),
        };
        self.put_role(&mut state, &request.name, role);
        self.next_revision(&mut state);
        tracing::info!(role = request.name, "created a role");
        Ok(())
    }

    /// Deletes a role and takes it from everyone.
    ///
    /// # Errors
    /// An unknown role; `root` while authentication is on.
    pub fn role_delete(&self, request: &AuthRoleDeleteRequest) -> Result<()> {
        let mut state = self.state.write();
        if state.enabled && request.role == ROOT {
            return Err(StoreError::InvalidAuthMgmt);
        }
        if state.roles.remove(&request.role).is_none() {
            return Err(StoreError::RoleNotFound);
        }
        self.backend
            .delete(Bucket::AuthRoles, request.role.clone().into());
        let holders: Vec<_> = state
            .users
            .iter()
            .filter(|(_, entry)| entry.user.roles.contains(&request.role))
            .map(|(name, entry)| (name.clone(), entry.user.clone()))
            .collect();
        for (name, mut user) in holders {
            user.roles.retain(|role| *role != request.role);
            self.put_user(&mut state, &name, user);
        }
        self.next_revision(&mut state);
        tracing::info!(role = request.role, "deleted a role");
        Ok(())
    }

    /// Gives a role a right on a range, or changes the kind of a right that it has on the very same range.
    ///
    /// # Errors
    /// A missing right, a range that is none, an unknown role.
    pub fn role_grant_permission(&self, request: &AuthRoleGrantPermissionRequest) -> Result<()> {
        let given = request
            .perm
            .as_ref()
            .ok_or(StoreError::PermissionNotGiven)?;
        if !is_valid_range(&given.key, &given.range_end) {
            return Err(StoreError::InvalidAuthMgmt);
        }
        let mut state = self.state.write();
        let role = state
            .roles
            .get(&request.name)
            .ok_or(StoreError::RoleNotFound)?;
        let mut role = role.clone();
        let same = |had: &&mut Permission| had.key == given.key && had.range_end == given.range_end;
        // Of several rights with one key etcd only looks at the first; changing the one that is meant keeps a right from
        // surviving its own reduction.
        if let Some(had) = role.key_permission.iter_mut().find(same) {
            had.perm_type = given.perm_type;
        } else {
            role.key_permission.push(given.clone());
            role.key_permission.sort_by(|a, b| a.key.cmp(&b.key));
        }
        self.put_role(&mut state, &request.name, role);
        self.next_revision(&mut state);
        tracing::info!(role = request.name, "granted a permission to a role");
        Ok(())
    }

    /// Takes the right on exactly this range from a role.
    ///
    /// # Errors
    /// An unknown role, a range on which it has no right.
    pub fn role_revoke_permission(&self, request: &AuthRoleRevokePermissionRequest) -> Result<()> {
        let mut state = self.state.write();
        let role = state
            .roles
            .get(&request.role)
            .ok_or(StoreError::RoleNotFound)?;
        let had = role.key_permission.len();
        let mut role = role.clone();
        role.key_permission
            .retain(|right| right.key != request.key || right.range_end != request.range_end);
        if role.key_permission.len() == had {
            return Err(StoreError::PermissionNotGranted);
        }
        self.put_role(&mut state, &request.role, role);
        self.next_revision(&mut state);
        tracing::info!(role = request.role, "revoked a permission from a role");
        Ok(())
    }

    fn put_user(&self, state: &mut AuthState, name: &str, user: User) {
        self.put(Bucket::AuthUsers, name.as_bytes(), user.encode_to_vec());
        state.put_user(name.to_owned(), user);
    }

    fn put_role(&self, state: &mut AuthState, name: &str, role: Role) {
        self.put(Bucket::AuthRoles, name.as_bytes(), role.encode_to_vec());
        state.roles.insert(name.to_owned(), role);
        state.refresh();
    }

    pub(super) fn next_revision(&self, state: &mut AuthState) {
        state.revision += 1;
        self.put(
            Bucket::Auth,
            REVISION,
            state.revision.to_be_bytes().to_vec(),
        );
    }

    fn put(&self, bucket: Bucket, key: &[u8], value: Vec<u8>) {
        self.backend
            .put(bucket, Bytes::copy_from_slice(key), value.into());
    }
}

/// The hash that a request carries. One with a plain password never comes from a member of this kind: each would salt it
/// differently, and the members would differ.
fn hashed(plain: &str, hashed: &str) -> Result<Bytes> {
    if hashed.is_empty() && !plain.is_empty() {
        return Err(StoreError::internal(
            "a log entry carries a password that was not hashed",
        ));
    }
    password::decode(hashed).ok_or_else(|| {
        StoreError::internal("auth: authentication failed, password was given for no password user")
    })
}
