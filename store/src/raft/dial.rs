//! How a member reaches another.

use std::{fmt, io};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes both ways: a TCP connection, one inside TLS, one of a simulation.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// An open connection, ready for HTTP/2.
pub type Connection = Box<dyn Stream>;

/// Opens connections to other members. TLS, if there is to be any, is its business: what it returns is past the
/// handshake and has agreed on `h2`.
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// Connects to a peer URL, such as `http://127.0.0.1:2380`.
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Connection>>;
}

/// Plain TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let address = host_and_port(url);
        Box::pin(async move {
            let stream = TcpStream::connect(address?).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Connection)
        })
    }
}

/// The host and port of a peer URL, for [`Dial`]s that connect by them.
pub fn host_and_port(url: &str) -> io::Result<String> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {why}"));
    let url = url::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    let host = url.host_str().ok_or_else(|| wrong("has no host"))?;
    let port = url
        .port_or_known_default()
        .ok_or_else(|| wrong("has no port"))?;
    Ok(format!("{host}:{port}"))
}
