//! The connections that come in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use super::handshakes::{Handshakes, MOST, Room};
use super::identity::Identity;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// While there is no room for one more handshake, it is looked for again after this: one may come to its end.
const LOOK: Duration = Duration::from_millis(10);
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
        Self::with_room(listener, tls, MOST)
    }

    fn with_room(
        listener: TcpListener,
        tls: Option<Arc<Identity>>,
        handshakes: usize,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, incoming) = mpsc::channel(1);
        let handshakes = Handshakes::of(handshakes);
        let accepting = tokio::spawn(accept(listener, tls, handshakes, sender));
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
    mut handshakes: Handshakes,
    sender: mpsc::Sender<(Stream, Caller)>,
) {
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
        let over = loop {
            match handshakes.begin(address.ip(), Instant::now()) {
                Room::There(over) => break Some(over),
                Room::After(wait) => tokio::time::sleep(wait.min(LOOK)).await,
                Room::None => break None,
            }
        };
        let Some(over) = over else {
            tracing::debug!(%address, "a caller was turned away: too many of its address say nothing");
            continue;
        };
        let (tls, sender) = (Arc::clone(tls), sender.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(HANDSHAKE, shake_hands(&tls, stream, address)) => shaken,
                _ = over => {
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

    use super::super::tls_files::TlsFiles;
    use super::*;

    /// One that connects from 127.0.0.`last`.
    async fn connect(to: SocketAddr, last: u8) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Twice as many as there is room for say nothing, and go on coming: the first of them are turned out, and whoever comes
    /// from elsewhere is let in, though it began before them and takes its time.
    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        const ROOM: usize = 32;
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
        let mut door = Door::with_room(listener, Some(identity), ROOM).unwrap();
        let begun = Instant::now();
        let slow = connect(address, 2).await;
        let mut silent = Vec::new();
        for _ in 0..ROOM {
            silent.push(connect(address, 1).await);
        }
        // They have had their time.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..ROOM {
            silent.push(connect(address, 1).await);
        }
        let late = connect(address, 3).await;

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
        for stream in [slow, late] {
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let from = stream.local_addr().unwrap().ip();
            let shaken = connector.connect(name, stream).await;
            if shaken.is_err() && begun.elapsed() >= HANDSHAKE {
                // A machine that is so slow gives nobody the time to shake hands.
                return;
            }
            let _shaken = shaken.unwrap();
            let accepted = tokio::time::timeout(HANDSHAKE, door.accept()).await;
            let (_stream, caller) = accepted.unwrap();
            assert_eq!(caller.address.ip(), from);
        }
        let mut nothing = [0; 1];
        let read = silent[0].read(&mut nothing).await;
        assert!(!matches!(read, Ok(1)), "{read:?}");
    }
}
