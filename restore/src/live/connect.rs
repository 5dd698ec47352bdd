//! How a live cluster is reached.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Identity, KvClient, LeaseClient, TlsOptions,
};

use crate::error::{Kind, RestoreError};

/// The largest answer that is taken: a page of keys, each as large as etcd allows.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// What a connection needs.
#[derive(Clone, Default)]
pub struct Connection {
    /// URLs, or `host:port`, of the members.
    pub endpoints: Vec<String>,
    /// The authority that signed the servers' certificates; the system's when absent.
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The client's private key.
    pub key: Option<PathBuf>,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// How long a connect may take.
    pub dial_timeout: Duration,
    /// How long a request may take.
    pub command_timeout: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

/// A live cluster. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    pub(super) kv: KvClient,
    pub(super) leases: LeaseClient,
    pub(super) timeout: Duration,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// Connects.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] when no member answers, [`Kind::Invalid`] for files that are no certificates.
    pub async fn connect(connection: &Connection) -> Result<Self, RestoreError> {
        let endpoints = connection.endpoints.join(",");
        let options = options(connection).await?;
        let dialing = Client::connect(&connection.endpoints, Some(options));
        let client = tokio::time::timeout(connection.dial_timeout, dialing).await;
        let client = client
            .map_err(|_| unreachable_cluster(&format!("{endpoints}: no answer in time")))?
            .map_err(|error| unreachable_cluster(&endpoints).because(error))?;
        Ok(Self::of(&client, connection.command_timeout))
    }

    /// A cluster to which there is a connection.
    #[must_use]
    pub fn of(client: &Client, timeout: Duration) -> Self {
        Self {
            kv: client
                .kv_client()
                .max_decoding_message_size(MAX_ANSWER_BYTES),
            leases: client.lease_client(),
            timeout,
        }
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn within<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, RestoreError> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|error| failed(what, error)),
            Err(_) => Err(unreachable_cluster(&format!("{what}: no answer in time"))),
        }
    }
}

fn unreachable_cluster(what: &str) -> RestoreError {
    RestoreError::new(
        Kind::Unreachable,
        format!("the live cluster cannot be reached: {what}"),
    )
}

/// What a refusal of etcd means for the caller.
fn failed(what: &str, error: etcd_client::Error) -> RestoreError {
    use tonic::Code;
    let kind = match &error {
        etcd_client::Error::GRpcStatus(status) => match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => {
                Kind::Unreachable
            }
            Code::PermissionDenied | Code::Unauthenticated => Kind::Refused,
            _ => Kind::Failed,
        },
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => Kind::Unreachable,
        _ => Kind::Failed,
    };
    RestoreError::new(kind, format!("{what}: the live cluster says no")).because(error)
}

async fn options(connection: &Connection) -> Result<ConnectOptions, RestoreError> {
    let mut options = ConnectOptions::new()
        .with_require_leader(true)
        .with_connect_timeout(connection.dial_timeout);
    if let Some((name, password)) = &connection.user {
        options = options.with_user(name, password);
    }
    let https = |endpoint: &String| endpoint.starts_with("https://");
    if !connection.endpoints.iter().any(https)
        && connection.cacert.is_none()
        && connection.cert.is_none()
    {
        return Ok(options);
    }
    let mut tls = match &connection.cacert {
        Some(path) => TlsOptions::new().ca_certificate(Certificate::from_pem(read(path).await?)),
        None => TlsOptions::new().with_native_roots(),
    };
    tls = match (&connection.cert, &connection.key) {
        (Some(cert), Some(key)) => {
            tls.identity(Identity::from_pem(read(cert).await?, read(key).await?))
        }
        (None, None) => tls,
        _ => {
            return Err(RestoreError::new(
                Kind::Invalid,
                "--cert and --key belong together: give both or neither",
            ));
        }
    };
    Ok(options.with_tls(tls))
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, RestoreError> {
    tokio::fs::read(path).await.map_err(|error| {
        RestoreError::new(Kind::Invalid, format!("read {}", path.display())).because(error)
    })
}
