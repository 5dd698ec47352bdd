//! How a member is reached.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use crate::AgentError;

/// Files for TLS, in PEM. They are read at every connect, so that renewed certificates are taken up.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authority that signed the server's certificate; the system's when absent.
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The client's private key.
    pub key: Option<PathBuf>,
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
        let options = self.options(endpoint).await?;
        let dialing = Client::connect([endpoint], Some(options));
        match tokio::time::timeout(self.dial_timeout, dialing).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!(
                "no answer within {}",
                humantime::format_duration(self.dial_timeout)
            ))),
        }
    }

    async fn options(&self, endpoint: &str) -> Result<ConnectOptions, AgentError> {
        let mut options = ConnectOptions::new()
            .with_require_leader(true)
            .with_auto_token_refresh(true)
            .with_connect_timeout(self.dial_timeout)
            .with_keep_alive(Duration::from_secs(10), Duration::from_secs(10))
            .with_keep_alive_while_idle(false);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        let wants_tls = endpoint.starts_with("https://")
            || (!endpoint.starts_with("http://") && self.tls.any());
        if wants_tls {
            options = options.with_tls(self.tls.options().await?);
        }
        Ok(options)
    }
}

impl Tls {
    fn any(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.key.is_some()
    }

    async fn options(&self) -> Result<TlsOptions, AgentError> {
        let mut options = TlsOptions::new();
        options = match &self.cacert {
            Some(path) => options.ca_certificate(Certificate::from_pem(read(path).await?)),
            None => options.with_native_roots(),
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let identity = Identity::from_pem(read(cert).await?, read(key).await?);
                Ok(options.identity(identity))
            }
            (None, None) => Ok(options),
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
