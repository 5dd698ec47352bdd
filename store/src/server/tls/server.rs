//! The side that listens.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::reload::{Reloading, trusted};
use crate::error::{Result, StoreError};
use crate::server::TlsFiles;

/// Accepts TLS for HTTP/2 and HTTP/1.1. With a CA to trust, clients must show a certificate of it.
pub(in crate::server) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = Reloading::open(files, &provider)?;
    let unusable = |error: &dyn std::fmt::Display| StoreError::Config(format!("TLS: {error}"));
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let config = match trusted(files)? {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| unusable(&error))?;
            config.with_client_cert_verifier(verifier)
        }
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
