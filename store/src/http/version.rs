//! `/version`: the release and the version that the cluster has agreed on.

use axum::body::Body;
use axum::http::Response;
use serde::Serialize;

use super::front::json;
use crate::rpc::Engine;
use crate::server::API_VERSION;

#[derive(Serialize)]
struct Versions {
    etcdserver: &'static str,
    etcdcluster: String,
}

pub(super) fn answer(engine: &Engine) -> Response<Body> {
    let cluster = engine.shared().members.cluster_version();
    json(&Versions {
        etcdserver: API_VERSION,
        etcdcluster: cluster.unwrap_or_else(|| "not_decided".to_owned()),
    })
}
