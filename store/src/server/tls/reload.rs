//! A certificate that is read again when its file changes, as etcd reads it for every handshake.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};

use super::files;
use crate::error::{Result, StoreError};
use crate::server::TlsFiles;

/// The newest certificate and key of two files.
#[derive(Debug)]
pub(super) struct Reloading {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl Reloading {
    /// Reads the files for the first time.
    pub(super) fn open(files: &TlsFiles, provider: &Arc<CryptoProvider>) -> Result<Arc<Self>> {
        let first = load(&files.cert, &files.key, provider)?;
        let reloading = Self {
            cert: files.cert.clone(),
            key: files.key.clone(),
            provider: Arc::clone(provider),
            current: Mutex::new((changed(&files.cert, &files.key), first)),
        };
        Ok(Arc::new(reloading))
    }

    fn newest(&self) -> Arc<CertifiedKey> {
        let now = changed(&self.cert, &self.key);
        let mut current = self.current.lock();
        if now != current.0 {
            match load(&self.cert, &self.key, &self.provider) {
                Ok(newest) => {
                    tracing::info!(file = %self.cert.display(), "read the certificate again");
                    *current = (now, newest);
                }
                // A half-written pair; the next handshake tries again.
                Err(error) => tracing::warn!(%error, "keeping the old certificate"),
            }
        }
        Arc::clone(&current.1)
    }
}

fn changed(cert: &PathBuf, key: &PathBuf) -> Option<SystemTime> {
    let of = |path: &PathBuf| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    of(cert).max(of(key))
}

fn load(
    cert: &std::path::Path,
    key: &std::path::Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>> {
    let chain = files::certificates(cert)?;
    let signing = files::key(key)?;
    CertifiedKey::from_der(chain, signing, provider)
        .map(Arc::new)
        .map_err(|error| {
            StoreError::Config(format!("{} and {}: {error}", cert.display(), key.display()))
        })
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.newest())
    }
}

impl ResolvesClientCert for Reloading {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.newest())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Whom the other side trusts, or nobody.
pub(super) fn trusted(files: &TlsFiles) -> Result<Option<Arc<RootCertStore>>> {
    let roots = files.trusted_ca.as_deref().map(files::roots).transpose()?;
    Ok(roots.map(Arc::new))
}
