//! Users, roles and what follows from them, as of the last applied entry.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use revkeep_schemas::etcd_api::authpb::{Role, User};

use super::permission::{Access, Permissions};
use super::{AuthInfo, ROOT};
use crate::backend::{Backend, Bucket};
use crate::error::{Result, StoreError};

/// Keys of the bucket `auth` (etcd, `server/auth/store.go`).
pub(super) const ENABLED: &[u8] = b"authEnabled";
pub(super) const REVISION: &[u8] = b"authRevision";

/// What the buckets `auth`, `authUsers` and `authRoles` hold.
#[derive(Debug, Default)]
pub(super) struct AuthState {
    pub(super) enabled: bool,
    pub(super) revision: u64,
    pub(super) users: BTreeMap<String, UserEntry>,
    pub(super) roles: BTreeMap<String, Role>,
}

/// A user with what the user's roles add up to.
#[derive(Debug)]
pub(super) struct UserEntry {
    pub(super) user: User,
    permissions: Permissions,
}

impl UserEntry {
    /// Whether the user is an administrator.
    pub(super) fn is_root(&self) -> bool {
        self.user.roles.iter().any(|role| role == ROOT)
    }

    /// Whether the user can only come with a client certificate.
    pub(super) fn has_no_password(&self) -> bool {
        self.user
            .options
            .as_ref()
            .is_some_and(|options| options.no_password)
    }
}

impl AuthState {
    /// Reads the buckets.
    pub(super) fn load(backend: &Backend) -> Result<Self> {
        let mut state = Self::default();
        for (key, value) in backend.entries(Bucket::Auth)? {
            match &key[..] {
                ENABLED => state.enabled = value == [1].as_slice(),
                REVISION => {
                    let bytes = value
                        .first_chunk()
                        .ok_or_else(|| damaged(Bucket::Auth, &key, "it has not eight bytes"))?;
                    state.revision = u64::from_be_bytes(*bytes);
                }
                _ => {}
            }
        }
        for (key, value) in backend.entries(Bucket::AuthRoles)? {
            let role = Role::decode(value).map_err(|e| damaged(Bucket::AuthRoles, &key, e))?;
            state.roles.insert(name(Bucket::AuthRoles, &key)?, role);
        }
        for (key, value) in backend.entries(Bucket::AuthUsers)? {
            let user = User::decode(value).map_err(|e| damaged(Bucket::AuthUsers, &key, e))?;
            state.put_user(name(Bucket::AuthUsers, &key)?, user);
        }
        Ok(state)
    }

    /// Sets a user and merges the user's rights.
    pub(super) fn put_user(&mut self, name: String, user: User) {
        let permissions = self.merge(&user);
        self.users.insert(name, UserEntry { user, permissions });
    }

    /// Merges everyone's rights anew, after a role has changed.
    pub(super) fn refresh(&mut self) {
        let mut users = std::mem::take(&mut self.users);
        for entry in users.values_mut() {
            entry.permissions = self.merge(&entry.user);
        }
        self.users = users;
    }

    fn merge(&self, user: &User) -> Permissions {
        let roles = user.roles.iter().filter_map(|name| self.roles.get(name));
        Permissions::merge(roles.flat_map(|role| &role.key_permission))
    }

    /// Whether `who` may access all keys of a range (etcd, `isOpPermitted`).
    pub(super) fn check(
        &self,
        who: &AuthInfo,
        access: Access,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        if who.revision == 0 {
            return Err(StoreError::UserEmpty);
        }
        if who.revision < self.revision {
            return Err(StoreError::AuthOldRevision);
        }
        let entry = self
            .users
            .get(&who.user)
            .ok_or(StoreError::PermissionDenied)?;
        if entry.is_root() || entry.permissions.allow(access, key, range_end) {
            Ok(())
        } else {
            Err(StoreError::PermissionDenied)
        }
    }

    /// Whether `who` is an administrator (etcd, `IsAdminPermitted`). The revision does not matter.
    pub(super) fn check_admin(&self, who: &AuthInfo) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        if who.user.is_empty() {
            return Err(StoreError::UserEmpty);
        }
        let entry = self.users.get(&who.user).ok_or(StoreError::UserNotFound)?;
        if entry.is_root() {
            Ok(())
        } else {
            Err(StoreError::PermissionDenied)
        }
    }
}

fn name(bucket: Bucket, key: &Bytes) -> Result<String> {
    let text = std::str::from_utf8(key).map_err(|e| damaged(bucket, key, e))?;
    Ok(text.to_owned())
}

fn damaged(bucket: Bucket, key: &[u8], reason: impl std::fmt::Display) -> StoreError {
    StoreError::damaged(
        format!(
            "bucket {}, key {:?}",
            bucket.name(),
            key.escape_ascii().to_string()
        ),
        format!("{reason}; restore this member from another one or from a backup"),
    )
}
