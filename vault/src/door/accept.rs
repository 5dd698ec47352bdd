//! The connections that come in.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use super::identity::Identity;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes that are under way at once. One more ends the oldest: who says nothing for that long keeps nobody else out.
const HANDSHAKES: usize = 64;
/// After an accept that failed, for want of files say.
const AGAIN: Duration = Duration::from_millis(100);

/// A connection.
pub type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// From where.
    pub address: SocketAddr,
    /// Whether a certificate is asked for.
    pub asked: bool,
    /// Whether one was shown that the authority signed.
    pub verified: bool,
}

impl Caller {
    /// One that shows nothing.
    const fn unknown(address: SocketAddr) -> Self {
        Self {
            address,
            asked: false,
            verified: false,
        }
    }
}

impl Connected<IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        *stream.remote_addr()
    }
}

/// The port, closed when this is dropped. A slow handshake holds up nobody else.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    incoming: mpsc::Receiver<(Stream, Caller)>,
    _accepting: AbortOnDropHandle<()>,
}

impl Door {
    /// Opens it, by TLS where there is an identity.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn open(listener: TcpListener, tls: Option<Arc<Identity>>) -> io::Result<Self> {
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
            // The task that accepts ends with the door alone.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller::unknown(self.address))
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Identity>>,
    sender: mpsc::Sender<(Stream, Caller)>,
) {
    // Of each handshake what keeps it going, the oldest first.
    let mut shaking: VecDeque<oneshot::Sender<()>> = VecDeque::new();
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
            let accepted = (Either::Left(stream), Caller::unknown(address));
            if sender.send(accepted).await.is_err() {
                return;
            }
            continue;
        };
        if shaking.len() >= HANDSHAKES {
            shaking.retain(|one| !one.is_closed());
        }
        if shaking.len() >= HANDSHAKES {
            shaking.pop_front();
        }
        let (keep, ended) = oneshot::channel();
        shaking.push_back(keep);
        let (tls, sender) = (Arc::clone(tls), sender.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(HANDSHAKE, shake_hands(&tls, stream, address)) => shaken,
                _ = ended => {
                    tracing::debug!(%address, "a caller says nothing while others wait");
                    return;
                }
            };
            match shaken {
                Ok(Ok(accepted)) => {
                    // The door may be closed.
                    let _ = sender.send(accepted).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "a caller was not let in"),
                Err(_) => tracing::debug!(%address, "a caller says nothing"),
            }
        });
    }
}

async fn shake_hands(
    tls: &Identity,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<(Stream, Caller)> {
    let acceptor = TlsAcceptor::from(tls.now().await);
    let stream = acceptor.accept(stream).await?;
    let caller = Caller {
        address,
        asked: tls.asks(),
        // What was shown was checked in the handshake.
        verified: tls.asks() && stream.get_ref().1.peer_certificates().is_some(),
    };
    Ok((Either::Right(stream), caller))
}

#[cfg(test)]
mod tests {
    use revkeep_harness::Certificates;
    use rustls::pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName};
    use tokio::io::AsyncReadExt as _;

    use super::super::identity::TlsFiles;
    use super::*;

    /// As many as there is room for say nothing, and one more: the first of them is turned out at once, and others come in.
    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let made = Certificates::make(folder.path()).unwrap();
        let files = TlsFiles {
            cert: made.file("server.crt"),
            key: made.file("server.key"),
            cacert: None,
        };
        let identity = Arc::new(Identity::read(files).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door::open(listener, Some(identity)).unwrap();
        let begun = tokio::time::Instant::now();
        let mut silent = Vec::new();
        for _ in 0..HANDSHAKES {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(made.file("ca.crt")).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let (shaken, _accepted) = tokio::join!(connector.connect(name, stream), door.accept());
        shaken.unwrap();
        // Before any of the others came to the end of its time.
        assert!(begun.elapsed() < HANDSHAKE, "{:?}", begun.elapsed());
        let mut nothing = [0; 1];
        let read = silent[0].read(&mut nothing).await;
        assert!(!matches!(read, Ok(1)), "{read:?}");
        let still = tokio::time::timeout(Duration::from_millis(1), silent[40].read(&mut nothing));
        assert!(still.await.is_err() || begun.elapsed() >= HANDSHAKE);
    }
}
