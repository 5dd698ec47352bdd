//! Logging in, and recognising who has.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use revkeep_schemas::etcd_api::etcdserverpb::{AuthUserAddRequest, AuthUserChangePasswordRequest};
use tokio::sync::watch;
use tokio::time::timeout;

use super::state::AuthState;
use super::token::{SimpleTokens, Tokens};
use super::{AuthInfo, BcryptCost, ROOT, password};
use crate::backend::Backend;
use crate::error::{Result, StoreError};
use crate::executor::Executor;

/// How long a token is waited for whose log entry has not been applied here yet.
const TOKEN_WAIT: Duration = Duration::from_secs(5);

/// Users, roles, rights and tokens of one member.
#[derive(Debug)]
pub struct Auth {
    pub(super) backend: Arc<Backend>,
    pub(super) tokens: Tokens,
    pub(super) state: RwLock<AuthState>,
    cost: BcryptCost,
    executor: Executor,
    applied: watch::Receiver<u64>,
}

impl Auth {
    /// Reads the buckets. Passwords are hashed by `executor`; `applied` tells the index of the last applied log entry.
    ///
    /// # Errors
    /// A bucket that cannot be read.
    pub fn open(
        backend: Arc<Backend>,
        tokens: Tokens,
        cost: BcryptCost,
        executor: Executor,
        applied: watch::Receiver<u64>,
    ) -> Result<Self> {
        let auth = Self {
            backend,
            tokens,
            state: RwLock::default(),
            cost,
            executor,
            applied,
        };
        auth.reload()?;
        Ok(auth)
    }

    /// Reads the buckets again, after a snapshot has replaced them.
    ///
    /// # Errors
    /// A bucket that cannot be read.
    pub fn reload(&self) -> Result<()> {
        let loaded = AuthState::load(&self.backend)?;
        let mut state = self.state.write();
        *state = loaded;
        if state.revision == 0 {
            // etcd writes the first revision when it first starts.
            self.next_revision(&mut state);
        }
        if state.enabled {
            self.tokens.enable();
        } else {
            self.tokens.disable();
        }
        Ok(())
    }

    /// Whether authentication is on.
    pub fn is_enabled(&self) -> bool {
        self.state.read().enabled
    }

    /// Counts every change of users, roles and rights.
    pub fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// What this member's own proposals are made as, such as the end of an expired lease.
    pub fn internal(&self) -> AuthInfo {
        let state = self.state.read();
        if state.enabled {
            AuthInfo::new(ROOT, state.revision)
        } else {
            AuthInfo::default()
        }
    }

    /// Who sent a request with this token, which may carry the word `Bearer` in front. Waits for the log entry that made
    /// a simple token. `None` when authentication is off: then nobody is asked for a name.
    ///
    /// # Errors
    /// [`StoreError::InvalidAuthToken`].
    pub async fn recognise(&self, token: &str) -> Result<Option<AuthInfo>> {
        if !self.is_enabled() {
            return Ok(None);
        }
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let found = match &self.tokens {
            Tokens::Simple(tokens) => {
                self.wait_for_token(token).await?;
                let revision = self.revision();
                tokens.user_of(token).map(|user| (user, revision))
            }
            Tokens::Jwt(tokens) => tokens.verify(token),
            Tokens::None => None,
        };
        let (user, revision) = found.ok_or(StoreError::InvalidAuthToken)?;
        Ok(Some(AuthInfo { user, revision }))
    }

    async fn wait_for_token(&self, token: &str) -> Result<()> {
        let index = SimpleTokens::index_of(token).ok_or(StoreError::InvalidAuthToken)?;
        let mut applied = self.applied.clone();
        let reached = timeout(TOKEN_WAIT, applied.wait_for(|applied| *applied >= index)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::InvalidAuthToken),
        }
    }

    /// Who comes with a client certificate of this common name. `None` when authentication is off or the name is empty.
    /// Requests of the JSON gateway must not be recognised so: they come with the gateway's certificate.
    pub fn recognise_certificate(&self, common_name: &str) -> Option<AuthInfo> {
        let state = self.state.read();
        (state.enabled && !common_name.is_empty())
            .then(|| AuthInfo::new(common_name, state.revision))
    }

    /// Checks a password, and tells the auth revision under which it was right. If that is no longer the revision once the
    /// token is made, the password must be checked again.
    ///
    /// # Errors
    /// [`StoreError::AuthNotEnabled`], [`StoreError::AuthFailed`].
    pub async fn check_password(&self, name: &str, password: String) -> Result<u64> {
        let (stored, revision) = {
            let state = self.state.read();
            if !state.enabled {
                return Err(StoreError::AuthNotEnabled);
            }
            let entry = state.users.get(name).ok_or(StoreError::AuthFailed)?;
            if entry.has_no_password() {
                return Err(StoreError::internal(
                    "auth: authentication failed, password was given for no password user",
                ));
            }
            (entry.user.password.clone(), state.revision)
        };
        if password::fits(password, stored, self.executor).await? {
            Ok(revision)
        } else {
            tracing::info!(user = name, "invalid password");
            Err(StoreError::AuthFailed)
        }
    }

    /// What to propose for a user whose password was right under `revision`: see [`Auth::authenticate`].
    ///
    /// # Errors
    /// When this member makes no tokens.
    pub fn propose_token(&self, user: &str, revision: u64) -> Result<String> {
        self.tokens.propose(user, revision)
    }

    /// Puts the hash in place of the password, before the request is proposed.
    ///
    /// # Errors
    /// A password that bcrypt would cut.
    pub async fn hash_new_user(&self, request: &mut AuthUserAddRequest) -> Result<()> {
        let plain = std::mem::take(&mut request.password);
        if !request.options.is_some_and(|options| options.no_password) {
            request.hashed_password = password::hash(plain, self.cost, self.executor).await?;
        }
        Ok(())
    }

    /// The same for a change of password; an empty password leaves a hash that the client has made.
    ///
    /// # Errors
    /// A password that bcrypt would cut.
    pub async fn hash_new_password(
        &self,
        request: &mut AuthUserChangePasswordRequest,
    ) -> Result<()> {
        let plain = std::mem::take(&mut request.password);
        if !plain.is_empty() {
            request.hashed_password = password::hash(plain, self.cost, self.executor).await?;
        }
        Ok(())
    }
}
