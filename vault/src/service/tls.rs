//! The certificate of the port, and the connections that come in.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::serve::Listener;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use super::options::TlsFiles;
use crate::error::{ErrorKind, VaultError};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes that are under way at once.
const HANDSHAKES: usize = 64;
/// After an accept that failed, for want of files say.
const AGAIN: Duration = Duration::from_millis(100);

/// What is shown to callers; replaced when the files are read again.
pub(super) struct Identity {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// `Config` that names the file.
    pub(super) fn read(files: TlsFiles) -> Result<Self, VaultError> {
        let config = config(&files)?;
        Ok(Self {
            files,
            config: RwLock::new(config),
        })
    }

    /// Reads them again; those that are wrong change nothing.
    ///
    /// # Errors
    /// As [`Identity::read`].
    pub(super) fn reload(&self) -> Result<(), VaultError> {
        let fresh = config(&self.files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn now(&self) -> Arc<ServerConfig> {
        let config = self.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }
}

fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, VaultError> {
    let wrong = |what: String| VaultError::new(ErrorKind::Config, format!("TLS: {what}"));
    let certificates = |path: &std::path::Path| {
        let read = CertificateDer::pem_file_iter(path);
        let read = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        read.map_err(|error| wrong(format!("{}: no certificate: {error}", path.display())))
    };
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong(format!("{}: no key: {error}", files.key.display())))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let builder = match &files.cacert {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            }
            // Probes come without one, so it is the guard that turns others away.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong(format!("{}: {error}", files.cert.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection.
pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// From where.
    pub(super) address: SocketAddr,
    /// Whether a certificate was shown that the authority signed.
    pub(super) verified: bool,
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Door>) -> Self {
        *stream.remote_addr()
    }
}

/// The port. A slow handshake holds up nobody else.
pub(super) struct Door {
    address: SocketAddr,
    incoming: mpsc::Receiver<(Stream, Caller)>,
    _accepting: AbortOnDropHandle<()>,
}

impl Door {
    /// Opens it, by TLS where there is an identity.
    pub(super) fn open(listener: TcpListener, tls: Option<Arc<Identity>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, incoming) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, tls, sender));
        Ok(Self {
            address,
            incoming,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }
}

impl Listener for Door {
    type Io = Stream;
    type Addr = Caller;

    async fn accept(&mut self) -> (Stream, Caller) {
        match self.incoming.recv().await {
            Some(accepted) => accepted,
            // The task that accepts runs as long as this does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller {
            address: self.address,
            verified: false,
        })
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Identity>>,
    sender: mpsc::Sender<(Stream, Caller)>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a caller was not let in");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let Some(tls) = &tls else {
            let caller = Caller {
                address,
                verified: false,
            };
            if sender.send((Either::Left(stream), caller)).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (acceptor, sender) = (TlsAcceptor::from(tls.now()), sender.clone());
        tokio::spawn(async move {
            let shaking = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
            match shaking.await {
                Ok(Ok(stream)) => {
                    drop(permit);
                    let verified = stream.get_ref().1.peer_certificates().is_some();
                    let caller = Caller { address, verified };
                    // The door may be closed.
                    let _ = sender.send((Either::Right(stream), caller)).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "a caller was not let in"),
                Err(_) => tracing::debug!(%address, "a caller says nothing"),
            }
        });
    }
}
