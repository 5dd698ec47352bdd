//! One port for gRPC, metrics and probes.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::Utc;
use revkeep_schemas::catalog_api::FILE_DESCRIPTOR_SET;
use revkeep_schemas::catalog_api::catalog_server::{CatalogServer, SERVICE_NAME};
use tonic::service::Routes;
use tonic_health::ServingStatus;

use super::answers::Answers;
use super::guard::{Guard, guard};
use super::metrics;
use super::state::State;
use crate::catalog::Catalog;
use crate::catalog::query::Expectations;
use crate::error::{ErrorKind, VaultError};
use crate::vault::Vault;

/// Everything that the port answers.
pub(super) async fn router(
    vault: Vault,
    catalog: Catalog,
    state: Arc<State>,
    guarding: Arc<Guard>,
) -> Result<Router, VaultError> {
    let broken = |error: tonic_reflection::server::Error| {
        VaultError::new(ErrorKind::Internal, "the API's descriptors").with_source(error)
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in ["", SERVICE_NAME] {
        health
            .set_service_status(service, ServingStatus::Serving)
            .await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let service = CatalogServer::new(Answers::new(catalog.clone(), vault));
    let grpc = Routes::new(service)
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(broken)?)
        .add_service(reflection().build_v1alpha().map_err(broken)?);
    let asked = catalog.clone();
    let ready = get(move || ready(asked.clone()));
    let exposition = get(move || exposition(Arc::clone(&state), catalog.clone()));
    Ok(grpc
        .into_axum_router()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", ready)
        .route("/metrics", exposition)
        .layer(from_fn_with_state(guarding, guard)))
}

/// Ready when questions can be answered; the object store's outage takes nothing from that.
async fn ready(catalog: Catalog) -> Response {
    match catalog.largest(1).await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => {
            let text = format!("the catalog cannot be asked: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn exposition(state: Arc<State>, catalog: Catalog) -> Response {
    let now = Utc::now().timestamp_millis();
    let expected = Expectations::default();
    let fleet = catalog.status(&expected, now, None, (0, 1)).await.ok();
    let bytes = catalog.total_bytes().await.ok();
    let body = metrics::text(&state, fleet.as_ref(), bytes);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body).into_response()
}
