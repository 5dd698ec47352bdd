//! Taking a port.

use tokio_rustls::TlsAcceptor;

use super::network::{Listen, Listener};
use crate::error::{Result, StoreError};
use crate::server::ServerUrl;

/// A port that is taken.
pub(in crate::server) struct Port {
    /// Its URL, with the port that was given where the settings left the choice.
    pub(in crate::server) url: ServerUrl,
    pub(in crate::server) listener: Listener,
    pub(in crate::server) tls: Option<TlsAcceptor>,
}

/// Listens on a URL.
pub(in crate::server) async fn bind(
    url: &ServerUrl,
    tls: Option<&TlsAcceptor>,
    network: Option<&dyn Listen>,
) -> Result<Port> {
    let failed = |error: std::io::Error| {
        StoreError::internal_from(format!("cannot listen on {url}: {error}"), error)
    };
    let listener = Listener::bind(url.host(), url.port(), network)
        .await
        .map_err(failed)?;
    let port = listener.port().map_err(failed)?;
    Ok(Port {
        url: url.with_port(port),
        listener,
        tls: tls.filter(|_| url.tls()).cloned(),
    })
}
