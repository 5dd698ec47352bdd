//! The side that connects to peers.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::reload::{Reloading, trusted};
use crate::error::{Result, StoreError};
use crate::raft::{Connection, Dial};
use crate::server::{ServerUrl, TlsFiles};

/// TCP, with TLS for `https` URLs. Shows this member's own certificate, and trusts whom it trusts.
#[derive(Clone)]
pub struct TlsDial {
    connector: TlsConnector,
}

impl std::fmt::Debug for TlsDial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TlsDial").finish_non_exhaustive()
    }
}

impl TlsDial {
    /// A dialler with the peers' files.
    ///
    /// # Errors
    /// [`StoreError::Config`] for a file that cannot be used.
    pub fn new(files: &TlsFiles) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate = Reloading::open(files, &provider)?;
        let roots = trusted(files)?.unwrap_or_else(|| Arc::new(RootCertStore::empty()));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Config(format!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_client_cert_resolver(certificate);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }
}

impl Dial for TlsDial {
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let url = url.parse::<ServerUrl>();
        let connector = self.connector.clone();
        Box::pin(async move {
            let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
            let url = url.map_err(|error| invalid(error.message()))?;
            let stream = TcpStream::connect((url.host(), url.port())).await?;
            stream.set_nodelay(true)?;
            if !url.tls() {
                return Ok(Box::new(stream) as Connection);
            }
            let name = ServerName::try_from(url.host().to_owned())
                .map_err(|error| invalid(format!("{url}: {error}")))?;
            let stream = connector.connect(name, stream).await?;
            Ok(Box::new(stream) as Connection)
        })
    }
}
