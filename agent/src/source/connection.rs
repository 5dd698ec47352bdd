//! How a member is reached.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use rustls::pki_types::CertificateDer;

use super::access::Access;
use super::denied;
use super::unverified::{self, Handshake};
use crate::AgentError;
use crate::config::Dial;

/// How often an open connection is tried, and how long the answer may take.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Everything that a connection needs. Cheap to clone; all clones take up a changed [`Access`] at their next connect.
#[derive(Clone, Debug)]
pub struct Connection {
    /// URLs, or `host:port`, of the members; one is used at a time.
    pub endpoints: Vec<String>,
    access: Dial<Access>,
}

impl Connection {
    /// To these members.
    #[must_use]
    pub fn new(endpoints: Vec<String>, access: Access) -> Self {
        Self {
            endpoints,
            access: access.into(),
        }
    }

    /// Certificates, user and password, patience; as they are now.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access.get()
    }

    /// Takes up what another one has; says whether that is another access.
    pub(crate) fn adopt(&self, other: &Self) -> bool {
        self.access.set(other.access())
    }

    /// A client of one endpoint only, on a connection of its own. Requires a leader: a member that is cut off ends the
    /// watch instead of falling silent.
    pub(super) async fn dial(&self, endpoint: &str) -> Result<Client, AgentError> {
        let access = self.access();
        let failed = |reason: String| AgentError::Connect {
            endpoint: endpoint.to_owned(),
            reason,
        };
        let wants_tls = wants_tls(&access, endpoint);
        let dial_timeout = access.dial_timeout;
        let dialing = async {
            let options = options(&access).await?;
            if wants_tls && access.tls.skip_verify {
                let channel = unverified::channel(endpoint, &access.tls, dial_timeout).await?;
                return Ok(Client::from_channel(channel, Some(options)).await);
            }
            let options = if wants_tls {
                options.with_tls(access.tls.options().await?)
            } else {
                options
            };
            Ok(Client::connect([endpoint], Some(options)).await)
        };
        match tokio::time::timeout(dial_timeout, dialing).await {
            Ok(Ok(Ok(client))) => Ok(client),
            Ok(Ok(Err(error))) => {
                let refused = denied::judge(endpoint, "login", access.user.as_ref(), &error);
                Err(refused.unwrap_or_else(|| failed(error.to_string())))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed(format!(
                "no answer within {}",
                humantime::format_duration(dial_timeout)
            ))),
        }
    }

    /// Whether TLS is used for this endpoint.
    pub(crate) fn wants_tls(&self, endpoint: &str) -> bool {
        wants_tls(&self.access(), endpoint)
    }

    /// The certificate that the member shows, whether it can be trusted or not; `None` for a member without TLS, or one that
    /// does not answer in time. Connects for that alone.
    pub(crate) async fn shown_by(&self, endpoint: &str) -> Option<CertificateDer<'static>> {
        Some(self.shakes_hands(endpoint).await?.certificate)
    }

    /// The same, with the version of TLS.
    pub(crate) async fn shakes_hands(&self, endpoint: &str) -> Option<Handshake> {
        let access = self.access();
        if !wants_tls(&access, endpoint) {
            return None;
        }
        let asking = unverified::handshake(endpoint, &access.tls);
        match tokio::time::timeout(access.dial_timeout, asking).await {
            Ok(Ok(shown)) => shown,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the member's certificate was not seen");
                None
            }
            Err(_) => None,
        }
    }
}

fn wants_tls(access: &Access, endpoint: &str) -> bool {
    endpoint.starts_with("https://") || (!endpoint.starts_with("http://") && access.tls.any())
}

async fn options(access: &Access) -> Result<ConnectOptions, AgentError> {
    let options = ConnectOptions::new()
        .with_require_leader(true)
        .with_auto_token_refresh(true)
        .with_connect_timeout(access.dial_timeout)
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
        .with_keep_alive_while_idle(false);
    Ok(match access.login().await? {
        Some((name, password)) => options.with_user(name, password),
        None => options,
    })
}
