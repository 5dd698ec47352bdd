//! One port for probes, metrics and gRPC.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use revkeep_schemas::agent_api::FILE_DESCRIPTOR_SET;
use revkeep_schemas::agent_api::agent_server::{AgentServer, SERVICE_NAME};
use revkeep_vault::door::{Caller, Door};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Report;
use super::handle::StatusHandle;
use super::metrics::{CONTENT_TYPE, Metrics};
use super::service::AgentService;
use crate::AgentError;

/// How long open requests may take when the agent ends.
const GRACE: Duration = Duration::from_millis(500);

/// Tells those who ask for the agent's health by gRPC.
#[derive(Clone, Debug)]
pub(super) struct Serving {
    health: HealthReporter,
}

impl Serving {
    /// The service's health is the agent's readiness, as in Kubernetes' gRPC probes.
    pub(super) async fn ready(&self, ready: bool) {
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in ["", SERVICE_NAME] {
            self.health.set_service_status(service, status).await;
        }
    }
}

/// Everything that the port answers.
pub(super) fn router(status: &Arc<StatusHandle>) -> Result<(Router, Serving), AgentError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error| AgentError::Internal(format!("the API's descriptors: {error}"));
    let service = AgentServer::new(AgentService::new(Arc::clone(status)));
    let grpc = Routes::new(service)
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(broken)?)
        .add_service(reflection().build_v1alpha().map_err(broken)?);
    let probe = |answer: fn(&Report) -> Response| {
        let status = Arc::clone(status);
        get(move || async move { answer(&status.report()) })
    };
    let metrics = Arc::new(Metrics::new(Arc::clone(status)));
    let router = grpc
        .into_axum_router()
        .route("/livez", probe(live))
        .route("/readyz", probe(ready))
        .route("/metrics", get(move || async move { exposition(&metrics) }))
        .fallback(unknown)
        .layer(from_fn(guard));
    Ok((router, Serving { health }))
}

/// Serves the port until `done`.
pub(super) async fn serve(door: Door, router: Router, done: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<Caller>();
    let serving = axum::serve(door, service).with_graceful_shutdown(done.clone().cancelled_owned());
    let late = async {
        done.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::warn!(%error, "the status is not served any more");
        },
        () = late => {}
    }
}

/// Where certificates are asked for, those without one get the probes alone: the kubelet has none.
async fn guard(ConnectInfo(caller): ConnectInfo<Caller>, request: Request, next: Next) -> Response {
    let probe = matches!(request.uri().path(), "/livez" | "/readyz");
    if !caller.asked || caller.verified || probe {
        return next.run(request).await;
    }
    let why = "show a certificate of the authority of --status-cacert";
    if is_grpc(&request) {
        return Status::unauthenticated(why).into_http();
    }
    text(StatusCode::FORBIDDEN, format!("{why}\n"))
}

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn text(status: StatusCode, text: String) -> Response {
    (status, text).into_response()
}

/// Alive unless a task that the agent cannot do without has ended.
fn live(report: &Report) -> Response {
    if report.ended.is_empty() {
        return text(StatusCode::OK, "ok\n".to_owned());
    }
    let ended = report.ended.join(", ");
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("a restart is needed, a task has ended: {ended}\n"),
    )
}

/// Ready when the source is read.
fn ready(report: &Report) -> Response {
    match &report.not_ready {
        None => text(StatusCode::OK, "ok\n".to_owned()),
        Some(why) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the source is not read: {why}\n"),
        ),
    }
}

fn exposition(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A path that nothing is at: gRPC and HTTP say so in different ways.
async fn unknown(request: Request) -> Response {
    if is_grpc(&request) {
        return Status::unimplemented("unknown service").into_http();
    }
    text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}
