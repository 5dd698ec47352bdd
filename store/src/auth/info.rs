//! Who asks.

/// The user of a request, and the auth revision under which the user was recognised. The default is a request without
/// any credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthInfo {
    /// The user's name; empty without credentials.
    pub user: String,
    /// The auth revision that the credentials were good for. 0 only without credentials.
    pub revision: u64,
}

impl AuthInfo {
    /// Credentials of a user.
    pub fn new(user: impl Into<String>, revision: u64) -> Self {
        Self {
            user: user.into(),
            revision,
        }
    }
}
