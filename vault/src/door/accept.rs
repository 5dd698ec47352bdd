//! The connections that come in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use super::identity::Identity;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes that are under way at once; others wait to be accepted.
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
            let accepted = (Either::Left(stream), Caller::unknown(address));
            if sender.send(accepted).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (tls, sender) = (Arc::clone(tls), sender.clone());
        tokio::spawn(async move {
            let shaking = tokio::time::timeout(HANDSHAKE, shake_hands(&tls, stream, address));
            match shaking.await {
                Ok(Ok(accepted)) => {
                    drop(permit);
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
