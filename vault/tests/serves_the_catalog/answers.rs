//! What it answers, and by what.

use std::time::Duration;

use super::service::*;
use super::world::{rows, segment};
use revkeep_schemas::catalog_api::catalog_client::CatalogClient;
use revkeep_schemas::catalog_api::{
    CoverageRequest, PointRequest, RevisionAtRequest, Scope, StatusRequest, TouchingRequest,
    UsageRequest,
};
use revkeep_vault::Timeline;
use tonic::transport::Channel;

#[tokio::test]
async fn answers_by_grpc_http_and_reflection() {
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    let catalog = sqlite(folder.path(), "catalog");
    let mut service = Service::start(
        folder.path(),
        "one",
        &url,
        &catalog,
        &["--catalog-schedule", "* * * * * *"],
    )
    .await;
    service.filled().await;
    let mut client = service.client().await;

    let coverage = CoverageRequest {
        scope: Some(prod()),
        as_of_unix_ms: None,
    };
    let coverage = client.coverage(coverage).await.unwrap().into_inner();
    assert_eq!((coverage.minimum, coverage.maximum), (Some(1), Some(150)));
    let status = client
        .status(StatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.total, status.clusters[0].condition.as_str()),
        (1, "silent")
    );
    let point = PointRequest {
        scope: Some(prod()),
        revision: 151,
    };
    let point = client.point(point).await.unwrap().into_inner();
    assert_eq!((point.recoverable, point.below), (false, Some(150)));
    // In this world the time of a revision is its number.
    let at = RevisionAtRequest {
        scope: Some(prod()),
        unix_ms: 120,
        exact: true,
    };
    let at = client.revision_at(at).await.unwrap().into_inner();
    assert_eq!(at.revision, Some(120));
    let touching = TouchingRequest {
        scope: Some(prod()),
        key: "key-3".into(),
        exact: true,
        ..TouchingRequest::default()
    };
    let touching = client.touching(touching).await.unwrap().into_inner();
    assert_eq!((touching.segments.len(), touching.filtered), (1, true));
    let usage = UsageRequest {
        cluster: "prod".to_owned(),
        largest: 3,
    };
    let usage = client.usage(usage).await.unwrap().into_inner();
    assert!(usage.bytes > 0 && usage.largest.len() == 1);
    let bases = client.bases(prod()).await.unwrap().into_inner().bases;
    assert_eq!(bases[0].revision, 100);
    let nobody = Scope {
        cluster: "nobody".to_owned(),
        timeline: String::new(),
    };
    let error = client.bases(nobody).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    let wrong = Scope {
        cluster: "../x".to_owned(),
        timeline: String::new(),
    };
    let error = client.bases(wrong).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);

    learns_what_is_new(&mut client, &timeline).await;
    describes_itself(service.port).await;

    assert_eq!(service.get("/livez").await.0, 200);
    assert_eq!(service.get("/readyz").await.0, 200);
    let (code, metrics) = service.get("/metrics").await;
    assert_eq!(code, 200);
    assert!(metrics.contains("revkeep_vault_clusters 1\n"), "{metrics}");
    assert!(metrics.contains("outcome=\"succeeded\""), "{metrics}");
    service.ends_in_order().await;
}

/// What is stored now is known a moment later.
async fn learns_what_is_new(client: &mut CatalogClient<Channel>, timeline: &Timeline) {
    let all = rows(151..161, 50);
    timeline
        .put_segment(&segment(timeline, &all, 151, 160))
        .await
        .unwrap();
    let mut tries = 0;
    loop {
        let coverage = CoverageRequest {
            scope: Some(prod()),
            as_of_unix_ms: None,
        };
        if client
            .coverage(coverage)
            .await
            .unwrap()
            .into_inner()
            .maximum
            == Some(160)
        {
            break;
        }
        tries += 1;
        assert!(tries < 300, "it was never known");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Health and reflection.
async fn describes_itself(port: u16) {
    use tonic_reflection::pb::v1 as reflection;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let asked = tonic_health::pb::HealthCheckRequest {
        service: "revkeep.catalog.v1.Catalog".to_owned(),
    };
    let answer = health.check(asked).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel);
    let asked = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers = client
        .server_reflection_info(tokio_stream_once(asked))
        .await
        .unwrap()
        .into_inner();
    let listed = format!("{:?}", answers.message().await.unwrap());
    assert!(listed.contains("revkeep.catalog.v1.Catalog"), "{listed}");
}

fn tokio_stream_once<T: Send + 'static>(
    item: T,
) -> impl futures::Stream<Item = T> + Send + 'static {
    futures::stream::once(std::future::ready(item))
}
