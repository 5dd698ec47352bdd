//! One port for gRPC, metrics and probes.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::Utc;
use revkeep_schemas::catalog_api::FILE_DESCRIPTOR_SET;
use revkeep_schemas::catalog_api::catalog_server::CatalogServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::answers::Answers;
use super::guard::{Guard, guard};
use super::metrics;
use super::ready::{HealthAnswers, Ready};
use super::state::State;
use crate::catalog::Catalog;
use crate::catalog::query::Expectations;
use crate::error::{ErrorKind, VaultError};
use crate::vault::Vault;

/// Everything that the port answers.
pub(super) fn router(
    vault: Vault,
    catalog: Catalog,
    state: Arc<State>,
    guarding: Arc<Guard>,
    stop: CancellationToken,
) -> Result<Router, VaultError> {
    let broken = |error: tonic_reflection::server::Error| {
        VaultError::new(ErrorKind::Internal, "the API's descriptors").with_source(error)
    };
    let ready = Arc::new(Ready::new(catalog.clone()));
    let health = HealthServer::new(HealthAnswers {
        ready: Arc::clone(&ready),
        stop,
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let service = CatalogServer::new(Answers::new(catalog.clone(), vault));
    let grpc = Routes::new(service)
        .add_service(health)
        .add_service(reflection().build_v1().map_err(broken)?)
        .add_service(reflection().build_v1alpha().map_err(broken)?);
    let ready = get(move || readyz(Arc::clone(&ready)));
    let exposition = get(move || exposition(Arc::clone(&state), catalog.clone()));
    Ok(grpc
        .into_axum_router()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", ready)
        .route("/metrics", exposition)
        .layer(from_fn_with_state(guarding, guard)))
}

async fn readyz(ready: Arc<Ready>) -> Response {
    if ready.now().await {
        return "ok\n".into_response();
    }
    let text = "the catalog cannot be asked: the log of the service says why\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn exposition(state: Arc<State>, catalog: Catalog) -> Response {
    let now = Utc::now().timestamp_millis();
    let expected = Expectations::default();
    let left_out = |error: &VaultError| {
        tracing::warn!(%error, "metrics are without what the catalog says");
    };
    let fleet = catalog.status(&expected, now, None, (0, 1)).await;
    let fleet = fleet.inspect_err(left_out).ok();
    let bytes = catalog.total_bytes().await.inspect_err(left_out).ok();
    let body = metrics::text(&state, fleet.as_ref(), bytes);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body).into_response()
}
