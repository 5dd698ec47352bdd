//! How a member is reached.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use rustls::pki_types::CertificateDer;

use super::unverified;
use crate::AgentError;

/// How often an open connection is tried, and how long the answer may take.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Files for TLS, in PEM. They are read at every connect, so that renewed certificates are taken up.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authority that signed the server's certificate; the system's when absent.
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The client's private key.
    pub key: Option<PathBuf>,
    /// Takes whatever certificate the server shows: encrypted, but to nobody in particular.
    pub skip_verify: bool,
}

/// Everything that a connection needs.
#[derive(Clone)]
pub struct Connection {
    /// URLs, or `host:port`, of the members; one is used at a time.
    pub endpoints: Vec<String>,
    /// TLS, used for `https://` endpoints and for those without a scheme when a file is given.
    pub tls: Tls,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// The longest time that a connect may take.
    pub dial_timeout: Duration,
    /// The longest time that a short request may take.
    pub command_timeout: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("dial_timeout", &self.dial_timeout)
            .field("command_timeout", &self.command_timeout)
            .finish()
    }
}

impl Connection {
    /// A client of one endpoint only, on a connection of its own. Requires a leader: a member that is cut off ends the
    /// watch instead of falling silent.
    pub(super) async fn dial(&self, endpoint: &str) -> Result<Client, AgentError> {
        let failed = |reason: String| AgentError::Connect {
            endpoint: endpoint.to_owned(),
            reason,
        };
        let wants_tls = self.wants_tls(endpoint);
        let options = self.options();
        let dialing = async {
            if wants_tls && self.tls.skip_verify {
                let channel = unverified::channel(endpoint, &self.tls, self.dial_timeout).await?;
                return Ok(Client::from_channel(channel, Some(options)).await);
            }
            let options = if wants_tls {
                options.with_tls(self.tls.options().await?)
            } else {
                options
            };
            Ok(Client::connect([endpoint], Some(options)).await)
        };
        match tokio::time::timeout(self.dial_timeout, dialing).await {
            Ok(Ok(Ok(client))) => Ok(client),
            Ok(Ok(Err(error))) => Err(failed(error.to_string())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed(format!(
                "no answer within {}",
                humantime::format_duration(self.dial_timeout)
            ))),
        }
    }

    fn wants_tls(&self, endpoint: &str) -> bool {
        endpoint.starts_with("https://") || (!endpoint.starts_with("http://") && self.tls.any())
    }

    /// The certificate that the member shows, whether it can be trusted or not; `None` for a member without TLS, or one that
    /// does not answer in time. Connects for that alone.
    pub(crate) async fn shown_by(&self, endpoint: &str) -> Option<CertificateDer<'static>> {
        if !self.wants_tls(endpoint) {
            return None;
        }
        let asking = unverified::certificate(endpoint, &self.tls);
        match tokio::time::timeout(self.dial_timeout, asking).await {
            Ok(Ok(shown)) => shown,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the member's certificate was not seen");
                None
            }
            Err(_) => None,
        }
    }

    fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .with_require_leader(true)
            .with_auto_token_refresh(true)
            .with_connect_timeout(self.dial_timeout)
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
            .with_keep_alive_while_idle(false);
        match &self.user {
            Some((name, password)) => options.with_user(name, password),
            None => options,
        }
    }
}

impl Tls {
    fn any(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.key.is_some() || self.skip_verify
    }

    async fn options(&self) -> Result<TlsOptions, AgentError> {
        let mut options = TlsOptions::new();
        options = match &self.cacert {
            Some(path) => options.ca_certificate(Certificate::from_pem(read(path).await?)),
            None => options.with_native_roots(),
        };
        Ok(match self.identity().await? {
            Some((cert, key)) => options.identity(Identity::from_pem(cert, key)),
            None => options,
        })
    }

    /// The client's certificate and key.
    pub(super) async fn identity(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>, AgentError> {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Ok(Some((read(cert).await?, read(key).await?))),
            (None, None) => Ok(None),
            _ => Err(AgentError::Config(
                "--cert and --key belong together: give both or neither".to_owned(),
            )),
        }
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, AgentError> {
    tokio::fs::read(path)
        .await
        .map_err(AgentError::io(format!("read {}", path.display())))
}
