//! The simulated network, as members use it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use revkeep_schemas::store_api::peer_server::{Peer, PeerServer};
use revkeep_store::raft::{Connection, Dial, host_and_port};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::StreamExt as _;
use tonic::transport::{Server, server::Connected};
use turmoil::net::{TcpListener, TcpStream};

use super::world::PEER_PORT;

/// Connects through the simulated network.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimDial;

impl Dial for SimDial {
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let address = host_and_port(url);
        Box::pin(async move {
            let stream = TcpStream::connect(address?).await?;
            Ok(Box::new(stream) as Connection)
        })
    }
}

/// A connection that was accepted.
struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Serves other members until the host goes down.
pub async fn serve_peers<P: Peer>(
    service: PeerServer<P>,
) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("0.0.0.0", PEER_PORT)).await?;
    let incoming = futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| Accepted(stream)), listener))
    });
    Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming.map(|accepted| accepted))
        .await?;
    Ok(())
}
