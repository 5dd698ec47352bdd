//! The files for TLS, and what is made of them.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{ErrorKind, VaultError};

/// Files for TLS, in PEM; they are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate that is shown.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority whose certificates callers may show; those without one get only the probes.
    pub cacert: Option<PathBuf>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    cacert: Option<Vec<u8>>,
}

fn wrong(what: impl Display) -> VaultError {
    VaultError::new(ErrorKind::Config, format!("TLS: {what}"))
}

/// Reads them.
///
/// # Errors
/// `Config` that names the file.
pub(super) async fn contents(files: &TlsFiles) -> Result<Contents, VaultError> {
    let read = async |path: &Path| {
        let read = tokio::fs::read(path).await;
        read.map_err(|error| wrong(format_args!("{}: {error}", path.display())))
    };
    Ok(Contents {
        cert: read(&files.cert).await?,
        key: read(&files.key).await?,
        cacert: match &files.cacert {
            Some(path) => Some(read(path).await?),
            None => None,
        },
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, VaultError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| {
        wrong(format!(
            "{}: no certificate in PEM: {error}",
            path.display()
        ))
    })?;
    if found.is_empty() {
        return Err(wrong(format!("{}: no certificate in PEM", path.display())));
    }
    Ok(found)
}

/// What callers are shown by what the files hold.
///
/// # Errors
/// `Config` that names the file which is wrong.
pub(super) fn config(
    files: &TlsFiles,
    contents: &Contents,
) -> Result<Arc<ServerConfig>, VaultError> {
    let chain = certificates(&files.cert, &contents.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
        wrong(format!(
            "{}: no private key in PEM: {error}",
            files.key.display()
        ))
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    let builder = match (&files.cacert, &contents.cacert) {
        (Some(path), Some(pem)) => {
            let refused = |error: &dyn Display| wrong(format_args!("{}: {error}", path.display()));
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, pem)? {
                roots.add(certificate).map_err(|error| refused(&error))?;
            }
            // Probes come without one, so it is the handlers that turn others away.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| refused(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong(format!("{}: {error}", files.cert.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
