//! The certificate of the status port, read again when its files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::AgentError;
use crate::source::{certificates, chain, read_file};

/// Between two looks at the files, at most one for a handshake.
const LOOK: Duration = Duration::from_secs(5);

/// Files for TLS at the status port, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// The certificate that is shown.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority whose certificates callers may show; those without one get only the probes.
    pub cacert: Option<PathBuf>,
}

/// What the files hold.
type Contents = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

struct State {
    looked: Instant,
    contents: Contents,
    config: Arc<ServerConfig>,
}

/// What is shown to callers.
pub(super) struct ServerIdentity {
    files: ListenTls,
    state: Mutex<State>,
}

impl ServerIdentity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`AgentError::Config`] or [`AgentError::Io`] that names the file.
    pub(super) async fn read(files: ListenTls) -> Result<Self, AgentError> {
        let contents = contents(&files).await?;
        let state = State {
            looked: Instant::now(),
            config: config(&files, &contents)?,
            contents,
        };
        Ok(Self {
            files,
            state: Mutex::new(state),
        })
    }

    /// Whether callers are asked for a certificate.
    pub(super) const fn asks(&self) -> bool {
        self.files.cacert.is_some()
    }

    /// By the files as they are now; those that are wrong do not count.
    pub(super) async fn now(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().await;
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            match contents(&self.files).await {
                Ok(found) if found == state.contents => {}
                Ok(found) => {
                    match config(&self.files, &found) {
                        Ok(config) => {
                            state.config = config;
                            tracing::info!("the status port shows a new certificate");
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the status port keeps its certificate: the new one cannot be used");
                        }
                    }
                    // Told once for each change.
                    state.contents = found;
                }
                Err(error) => tracing::warn!(%error, "the status port keeps its certificate"),
            }
        }
        Arc::clone(&state.config)
    }
}

async fn contents(files: &ListenTls) -> Result<Contents, AgentError> {
    let authority = match &files.cacert {
        Some(path) => Some(read_file(path).await?),
        None => None,
    };
    Ok((
        read_file(&files.cert).await?,
        read_file(&files.key).await?,
        authority,
    ))
}

fn config(
    files: &ListenTls,
    (cert, key, authority): &Contents,
) -> Result<Arc<ServerConfig>, AgentError> {
    let wrong = |error: String| {
        AgentError::Config(format!(
            "--status-cert, --status-key, --status-cacert: {error}"
        ))
    };
    let (chain, key) = chain((&files.cert, cert), (&files.key, key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let builder = match (&files.cacert, authority) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, pem)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
