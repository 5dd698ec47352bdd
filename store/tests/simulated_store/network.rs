//! The simulated network, as the store and its clients use it.

use std::{io, time::Duration};

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use revkeep_store::{
    raft::Connection,
    server::{Accept, Listen},
};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use turmoil::net::{TcpListener, TcpStream};

/// The port on which clients are served.
pub const CLIENT_PORT: u16 = 2379;

/// Listens in the simulated network.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimListen;

struct Port {
    listener: TcpListener,
    port: u16,
}

impl Listen for SimListen {
    fn listen(&self, _host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Accept>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(("0.0.0.0", port)).await?;
            Ok(Box::new(Port { listener, port }) as Box<dyn Accept>)
        })
    }
}

impl Accept for Port {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            Ok(Box::new(stream) as Connection)
        })
    }

    fn port(&self) -> u16 {
        self.port
    }
}

/// A client's connection to a simulated member, dialled when it is used.
pub fn simulated_channel(member: &str) -> Channel {
    let address = format!("{member}:{CLIENT_PORT}");
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_timeout(Duration::from_secs(1))
        // By the real clock, which must not matter.
        .http2_reset_stream_duration(Duration::from_secs(3600));
    endpoint.connect_with_connector_lazy(service_fn(move |_| {
        let address = address.clone();
        async move { TcpStream::connect(address).await.map(TokioIo::new) }
    }))
}
