//! Which request goes where.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use serde::Serialize;
use tonic::codegen::Service;

use super::gateway::Gateway;
use super::{Metrics, health, version};
use crate::error::Result;
use crate::rpc::{CertificateName, Engine, Grpc};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What a browser may do with answers from here: everything, as in etcd's default (`--cors=*`).
const CORS: [(header::HeaderName, HeaderValue); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    ),
];

/// Everything that a client port answers. Clones are the same.
#[derive(Clone, Debug)]
pub struct Front {
    grpc: Grpc,
    http: Arc<Http>,
    /// Whether it tells how the member is, and nothing else.
    probed: bool,
}

#[derive(Debug)]
struct Http {
    engine: Arc<Engine>,
    gateway: Gateway<Grpc>,
    metrics: Arc<Metrics>,
}

impl Front {
    /// The services, as gRPC and as JSON, and what is said of the member besides.
    ///
    /// # Errors
    /// If the API's descriptors cannot be read: the build is broken.
    pub fn new(engine: &Arc<Engine>, grpc: Grpc, metrics: Arc<Metrics>) -> Result<Self> {
        // Base64 makes three bytes four; and a JSON message has names and quotes.
        let limit = engine
            .options()
            .max_request_bytes
            .saturating_mul(2)
            .saturating_add(64 * 1024);
        let http = Http {
            engine: Arc::clone(engine),
            gateway: Gateway::new(grpc.clone(), limit)?,
            metrics,
        };
        Ok(Self {
            grpc,
            http: Arc::new(http),
            probed: false,
        })
    }

    /// The same for a port of `--listen-metrics-urls`, which may be open to whom the API is not: metrics and health alone.
    #[must_use]
    pub fn probed(&self) -> Self {
        Self {
            probed: true,
            ..self.clone()
        }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if is_grpc(request.headers()) && !self.probed {
            return self.grpc.call(request.map(tonic::body::Body::new));
        }
        if self.probed && !is_probe(request.uri().path()) {
            let response = not_found().map(tonic::body::Body::new);
            return Box::pin(async move { Ok(response) });
        }
        let http = Arc::clone(&self.http);
        Box::pin(async move {
            let response = http.answer(request.map(Body::new)).await;
            Ok(response.map(tonic::body::Body::new))
        })
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Whether a path asks how the member is.
fn is_probe(path: &str) -> bool {
    let is_one = ["/livez/", "/readyz/"]
        .iter()
        .any(|prefix| path.starts_with(prefix));
    is_one || ["/health", "/metrics", "/livez", "/readyz"].contains(&path)
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

impl Http {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut response = if request.method() == Method::OPTIONS {
            Response::new(Body::empty())
        } else {
            self.route(request).await
        };
        response.headers_mut().extend(CORS);
        response
    }

    async fn route(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with("/v3/") || path.starts_with("/v3beta/") {
            if self.would_ignore_certificate(&request) {
                return text(
                    StatusCode::BAD_REQUEST,
                    "CommonName of client sending a request against gateway will be ignored and not used as expected\n",
                );
            }
            return self.gateway.answer(request).await;
        }
        if path != "/version" && !is_probe(path) {
            return not_found();
        }
        if request.method() != Method::GET {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        let query = request.uri().query().unwrap_or_default();
        match path {
            "/version" => version::answer(&self.engine),
            "/metrics" => self.metrics.answer(),
            "/health" => health::health(&self.engine, &self.metrics, query).await,
            check => health::check(&self.engine, &self.metrics, check, query).await,
        }
    }

    /// A certificate that names a user says nothing on a request as JSON; better to say so (etcd, `embed/serve.go`).
    fn would_ignore_certificate(&self, request: &Request<Body>) -> bool {
        let name = request.extensions().get::<CertificateName>();
        name.is_some_and(|name| !name.0.is_empty()) && self.engine.shared().auth.is_enabled()
    }
}

/// A plain answer.
pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, PLAIN);
    response
}

/// A JSON answer.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = match serde_json::to_vec(value) {
        Ok(body) => Response::new(Body::from(body)),
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
