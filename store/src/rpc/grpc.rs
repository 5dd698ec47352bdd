//! All services behind one door.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::body::Frame;
use revkeep_schemas::etcd_api::FILE_DESCRIPTOR_SET;
use revkeep_schemas::etcd_api::etcdserverpb::auth_server::AuthServer;
use revkeep_schemas::etcd_api::etcdserverpb::cluster_server::ClusterServer;
use revkeep_schemas::etcd_api::etcdserverpb::kv_server::KvServer;
use revkeep_schemas::etcd_api::etcdserverpb::lease_server::LeaseServer;
use revkeep_schemas::etcd_api::etcdserverpb::maintenance_server::MaintenanceServer;
use revkeep_schemas::etcd_api::etcdserverpb::watch_server::WatchServer;
use revkeep_schemas::etcd_api::v3electionpb::election_server::ElectionServer;
use revkeep_schemas::etcd_api::v3lockpb::lock_server::LockServer;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{Body as HttpBody, Bytes, Service};
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::server::HealthReporter;

use super::calls::{Calls, Method, MethodKind};
use super::engine::Engine;
use super::leaderless::requires_leader;
use super::services::{
    AuthService, ClusterService, ElectionService, KvService, LeaseService, LockService,
    MaintenanceService, WatchService,
};
use crate::error::{Result, StoreError};

/// What a message may have beyond `--max-request-bytes` before it is refused unread (etcd, `grpcOverheadBytes`).
const OVERHEAD_BYTES: usize = 512 * 1024;

/// The methods that a learner answers (etcd, `v3rpc/util.go`, `isRPCSupportedForLearner`). Range looks at the request.
const FOR_LEARNERS: [&str; 3] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
];

/// How tonic begins when a message is larger than allowed.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Every service of a member. Clones are the same.
#[derive(Clone)]
pub struct Grpc {
    engine: Arc<Engine>,
    calls: Calls,
    kv: KvServer<KvService>,
    others: Routes,
}

impl std::fmt::Debug for Grpc {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Grpc")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Grpc {
    /// The services over an engine, counted in `calls`, and what tells clients of the health service how it is.
    ///
    /// # Errors
    /// If the API's descriptors cannot be read: the build is broken.
    pub fn new(engine: &Arc<Engine>, calls: Calls) -> Result<(Self, HealthReporter)> {
        let limit = engine
            .options()
            .max_request_bytes
            .saturating_add(OVERHEAD_BYTES);
        let (health, health_service) = tonic_health::server::health_reporter();
        let broken = |error| StoreError::internal_from("the API's descriptors", error);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        /// A service over the engine, with the limit on its messages.
        macro_rules! serve {
            ($server:ident($service:ident)) => {
                $server::new($service {
                    engine: Arc::clone(engine),
                })
                .max_decoding_message_size(limit)
                .max_encoding_message_size(usize::MAX)
            };
        }
        let others = Routes::new(serve!(WatchServer(WatchService)))
            .add_service(serve!(LeaseServer(LeaseService)))
            .add_service(serve!(ClusterServer(ClusterService)))
            .add_service(serve!(MaintenanceServer(MaintenanceService)))
            .add_service(serve!(AuthServer(AuthService)))
            .add_service(serve!(ElectionServer(ElectionService)))
            .add_service(serve!(LockServer(LockService)))
            .add_service(health_service)
            .add_service(reflection().build_v1().map_err(broken)?)
            .add_service(reflection().build_v1alpha().map_err(broken)?)
            .prepare();
        let grpc = Self {
            engine: Arc::clone(engine),
            calls,
            kv: serve!(KvServer(KvService)),
            others,
        };
        Ok((grpc, health))
    }

    /// What is refused before its service sees it.
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<()> {
        if requires_leader(headers) {
            self.engine.require_leader()?;
        }
        let etcds = path.starts_with("/etcdserverpb.") || path.starts_with("/v3");
        if etcds && !FOR_LEARNERS.contains(&path) && self.engine.is_learner() {
            return Err(StoreError::NotSupportedForLearner);
        }
        Ok(())
    }
}

impl Service<Request<Body>> for Grpc {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let method = self.calls.of(path).cloned();
        if let Some(method) = &method {
            method.start();
        }
        if let Err(error) = self.admit(path, request.headers()) {
            if let Some(method) = &method {
                method.end(error.code());
            }
            return Box::pin(async move { Ok(Status::from(error).into_http()) });
        }
        let running = Running(method);
        let limit = patience(request.headers());
        // The busiest service is not looked up.
        let answer: BoxFuture<'static, _> = if path.starts_with("/etcdserverpb.KV/") {
            self.kv.call(request)
        } else {
            let answer = self.others.call(request);
            Box::pin(answer)
        };
        Box::pin(async move {
            let response = match limit {
                None => answer.await?,
                // The client has given up; what was proposed goes on.
                Some(limit) => match timeout(limit, answer).await {
                    Ok(response) => response?,
                    Err(_) => Status::deadline_exceeded("context deadline exceeded").into_http(),
                },
            };
            Ok(running.answered(rephrased(response)))
        })
    }
}

/// A call that is not answered yet, if it is one that is counted.
struct Running(Option<Arc<Method>>);

impl Running {
    fn answered(mut self, response: Response<Body>) -> Response<Body> {
        match self.0.take() {
            Some(method) => counted(response, method),
            None => response,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The client has gone before there was an answer.
        if let Some(method) = self.0.take() {
            method.end(Code::Cancelled);
        }
    }
}

/// How long the client waits for the beginning of an answer: `100m` is 100 milliseconds (gRPC over HTTP/2, `grpc-timeout`).
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number.saturating_mul(3600)),
        'M' => Duration::from_secs(number.saturating_mul(60)),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The code of a call that is over with its headers: any error before the first message.
fn early_code(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// An answer that is nothing but a refusal, [rephrased](rephrase).
fn rephrased(response: Response<Body>) -> Response<Body> {
    let code = early_code(response.headers());
    if !matches!(code, Some(Code::OutOfRange | Code::NotFound)) {
        return response;
    }
    match Status::from_header_map(response.headers()) {
        Some(status) => rephrase(status).into_http(),
        None => response,
    }
}

/// tonic's own refusals, in the words and with the codes of the gRPC library that etcd uses.
pub(super) fn rephrase(status: Status) -> Status {
    if status.message() == "service not registered" {
        return Status::not_found("unknown service");
    }
    if !status.message().starts_with(TOO_LARGE) {
        return status;
    }
    let mut numbers = status
        .message()
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|number| !number.is_empty());
    let found = numbers.next().unwrap_or_default();
    let limit = numbers.next().unwrap_or_default();
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({found} vs. {limit})"
    ))
}

/// Counts the outcome: of a unary call at once, of a stream when it ends.
fn counted(response: Response<Body>, method: Arc<Method>) -> Response<Body> {
    if let Some(code) = early_code(response.headers()) {
        method.end(code);
        return response;
    }
    if method.kind() == MethodKind::Unary {
        method.end(Code::Ok);
        return response;
    }
    response.map(|body| {
        Body::new(CountedBody {
            body,
            method,
            ended: false,
        })
    })
}

/// The messages of a stream, counted as they go out.
struct CountedBody {
    body: Body,
    method: Arc<Method>,
    ended: bool,
}

impl CountedBody {
    fn end(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            self.method.end(code);
        }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => {
                    let code = early_code(trailers).unwrap_or(Code::Unknown);
                    self.end(code);
                }
                None => self.method.sent(),
            },
            Some(Err(status)) => {
                let code = status.code();
                self.end(code);
            }
            None => self.end(Code::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        // The client has gone.
        self.end(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_call_whose_client_goes_away_is_over() {
        let calls = Calls::new().unwrap();
        let put = calls.of("/etcdserverpb.KV/Put").unwrap();
        put.start();
        drop(Running(Some(Arc::clone(put))));
        put.start();
        let answered = Running(Some(Arc::clone(put)));
        drop(answered.answered(Response::new(Body::empty())));

        let mut registry = Registry::default();
        registry.register_collector(Box::new(calls));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for code in ["Canceled", "OK"] {
            let line = format!(
                r#"grpc_server_handled_total{{grpc_code="{code}",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}} 1"#
            );
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_clients_patience_is_read() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            patience(&headers)
        };
        assert_eq!(of("150m"), Some(Duration::from_millis(150)));
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "5", "S", "-1S", "5x"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
