//! Connections, from the handshake to the last answer.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

use super::Port;
use super::network::Incoming as Raw;
use crate::raft::Gathered;
use crate::rpc::CertificateName;
use crate::server::tls::common_name;

/// What a client may send of one stream before it must wait.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// What it may send on all streams of a connection. The window is opened anew when half of it is used up, so a larger one
/// costs fewer frames.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// How many streams a client may reset before they are looked at; a client that gives up many calls at once is no attack.
const PENDING_RESETS: usize = 4096;

/// How long the other side may take for its part of the TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How long open calls may take when the member stops.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait after a failed accept: usually too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections are served.
#[derive(Clone, Debug)]
pub(in crate::server) struct ConnectionOptions {
    /// The most streams of one connection.
    pub(in crate::server) max_concurrent_streams: u32,
    /// Whether the common name of a client's certificate names a user.
    pub(in crate::server) certificate_names_user: bool,
    /// The common names that certificates may carry; empty for any.
    pub(in crate::server) allowed_names: Arc<[String]>,
    /// After how long the other side is asked whether it is still there, and how long it may take to say so.
    pub(in crate::server) keep_alive: Option<(Duration, Duration)>,
    /// Whether answers wait a moment for others to go with.
    pub(in crate::server) gathers: bool,
}

/// What answers the requests of a connection.
pub(in crate::server) trait Answers:
    Service<
        Request<Incoming>,
        Response = Response<<Self as Answers>::Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    /// An answer's.
    type Body: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> Answers for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
}

/// Serves a port until `stop`, and then the calls that are open for a moment longer.
pub(in crate::server) async fn serve(
    mut port: Port,
    options: ConnectionOptions,
    service: impl Answers,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = port.listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok(stream) => {
                connections.spawn(connection(
                    stream,
                    port.tls.clone(),
                    options.clone(),
                    service.clone(),
                    stop.clone(),
                ));
            }
            Err(error) => {
                tracing::warn!(%error, url = %port.url, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(port);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What still runs then, watches say, is cut off.
    let _ = tokio::time::timeout(GRACE, ended).await;
    connections.shutdown().await;
}

async fn connection(
    stream: Raw,
    tls: Option<TlsAcceptor>,
    options: ConnectionOptions,
    service: impl Answers,
    stop: CancellationToken,
) {
    match stream {
        Raw::Tcp(stream) => greet(stream, tls, options, service, stop).await,
        Raw::Other(stream) => greet(stream, tls, options, service, stop).await,
    }
}

async fn greet(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<TlsAcceptor>,
    options: ConnectionOptions,
    service: impl Answers,
    stop: CancellationToken,
) {
    let Some(acceptor) = tls else {
        return talk(stream, &options, service, None, stop).await;
    };
    let stream = match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%error, "rejected a connection");
            return;
        }
        Err(_) => return,
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first);
    let name = certificate.and_then(common_name);
    let allowed = &options.allowed_names;
    if !allowed.is_empty() && !name.as_ref().is_some_and(|name| allowed.contains(name)) {
        tracing::warn!(?name, "rejected a connection: its certificate is another's");
        return;
    }
    let name = name
        .filter(|_| options.certificate_names_user)
        .map(|name| CertificateName(name.into()));
    talk(stream, &options, service, name, stop).await;
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    options: &ConnectionOptions,
    service: impl Answers,
    name: Option<CertificateName>,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        // No gRPC server sends a date, and nobody reads it.
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_pending_accept_reset_streams(PENDING_RESETS);
    if let Some((interval, patience)) = options.keep_alive {
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(interval)
            .keep_alive_timeout(patience);
    }
    let answer = service_fn(move |mut request: Request<Incoming>| {
        if let Some(name) = &name {
            request.extensions_mut().insert(name.clone());
        }
        service.clone().call(request)
    });
    let stream = if options.gathers {
        Gathered::patient(stream)
    } else {
        Gathered::prompt(stream)
    };
    let connection = builder.serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
