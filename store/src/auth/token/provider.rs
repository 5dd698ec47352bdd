//! Tokens of whatever kind the flag asks for.

use std::time::Duration;

use super::{JwtTokens, SimpleTokens, TokenOptions, UnixClock};
use crate::error::{Result, StoreError};

/// Makes and checks tokens of the configured kind.
#[derive(Debug)]
pub enum Tokens {
    /// Random tokens that the members remember.
    Simple(SimpleTokens),
    /// Signed tokens.
    Jwt(Box<JwtTokens>),
    /// No tokens: nobody can log in by password.
    None,
}

impl Tokens {
    /// The time of a simple token that is not used, unless `--auth-token-ttl` says otherwise.
    pub const SIMPLE_TTL: Duration = Duration::from_secs(300);

    /// Tokens as the flag asks; `simple_ttl` is `--auth-token-ttl`.
    ///
    /// # Errors
    /// [`StoreError::Config`] when the keys of signed tokens cannot be used.
    pub fn new(options: &TokenOptions, simple_ttl: Duration, clock: UnixClock) -> Result<Self> {
        Ok(match options {
            TokenOptions::Simple => Self::Simple(SimpleTokens::new(simple_ttl)),
            TokenOptions::Jwt(options) => Self::Jwt(Box::new(JwtTokens::new(options, clock)?)),
            TokenOptions::None => Self::None,
        })
    }

    /// Simple tokens with etcd's default time.
    pub fn simple() -> Self {
        Self::Simple(SimpleTokens::new(Self::SIMPLE_TTL))
    }

    /// What a member that has checked a password puts into its proposal: the random part of a simple token, or a whole
    /// signed one.
    ///
    /// # Errors
    /// When this member cannot sign, or there are no tokens.
    pub fn propose(&self, user: &str, revision: u64) -> Result<String> {
        match self {
            Self::Simple(_) => Ok(SimpleTokens::new_prefix()),
            Self::Jwt(tokens) => tokens.sign(user, revision),
            Self::None => Err(StoreError::AuthFailed),
        }
    }

    /// Makes the token of an applied log entry and returns what the client gets.
    pub fn assign(&self, user: &str, proposed: &str, index: u64) -> String {
        match self {
            Self::Simple(tokens) => {
                let token = SimpleTokens::token(proposed, index);
                tokens.assign(token.clone(), user.to_owned());
                token
            }
            Self::Jwt(_) | Self::None => proposed.to_owned(),
        }
    }

    /// Authentication was turned on.
    pub fn enable(&self) {
        if let Self::Simple(tokens) = self {
            tokens.enable();
        }
    }

    /// Authentication was turned off.
    pub fn disable(&self) {
        if let Self::Simple(tokens) = self {
            tokens.disable();
        }
    }

    /// A user is gone or has another password.
    pub fn invalidate(&self, user: &str) {
        if let Self::Simple(tokens) = self {
            tokens.invalidate(user);
        }
    }
}
