//! Where connections come from.

use std::{fmt, io};

use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

use crate::raft::Connection;

/// A network that a member listens on in the place of the machine's own, for simulations.
pub trait Listen: fmt::Debug + Send + Sync + 'static {
    /// Takes a port.
    fn listen(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Accept>>>;
}

/// A port that is taken on such a network.
pub trait Accept: Send + 'static {
    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;

    /// The port's number.
    fn port(&self) -> u16;
}

/// Takes connections in.
pub(in crate::server) enum Listener {
    Tcp(TcpListener),
    Other(Box<dyn Accept>),
}

/// A connection that was taken in.
pub(in crate::server) enum Incoming {
    Tcp(TcpStream),
    Other(Connection),
}

impl Listener {
    /// Takes a port, on the machine's own network unless there is another.
    pub(in crate::server) async fn bind(
        host: &str,
        port: u16,
        network: Option<&dyn Listen>,
    ) -> io::Result<Self> {
        match network {
            Some(network) => network.listen(host, port).await.map(Self::Other),
            None => TcpListener::bind((host, port)).await.map(Self::Tcp),
        }
    }

    /// The next connection.
    pub(in crate::server) async fn accept(&mut self) -> io::Result<Incoming> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small answers must not wait for larger ones. A connection that is gone already will say so.
                let _ = stream.set_nodelay(true);
                Ok(Incoming::Tcp(stream))
            }
            Self::Other(listener) => listener.accept().await.map(Incoming::Other),
        }
    }

    /// The port's number.
    pub(in crate::server) fn port(&self) -> io::Result<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.port()),
            Self::Other(listener) => Ok(listener.port()),
        }
    }
}
