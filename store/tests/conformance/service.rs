//! gRPC's own services, and what is not served.

use crate::suite::*;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

pub(crate) fn groups() -> Vec<Group> {
    vec![group!(
        "service",
        [
            health,
            health_of_an_unknown_service,
            reflection,
            an_unknown_method,
        ]
    )]
}

async fn check(case: &Case, service: &str) -> Result<i32, tonic::Status> {
    let mut client = HealthClient::new(case.channel.clone());
    let ask = HealthCheckRequest {
        service: service.to_owned(),
    };
    Ok(client.check(ask).await?.into_inner().status)
}

async fn health(case: &mut Case) -> Result<()> {
    assert_eq!(check(case, "").await?, ServingStatus::Serving as i32);
    Ok(())
}

async fn health_of_an_unknown_service(case: &mut Case) -> Result<()> {
    let outcome = check(case, "no.such.Service").await;
    refused(outcome, Code::NotFound, "unknown service")
}

async fn reflection(case: &mut Case) -> Result<()> {
    let mut client = ServerReflectionClient::new(case.channel.clone());
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let outcome = client
        .server_reflection_info(tokio_stream::iter([ask]))
        .await;
    if !case.version.is_store() {
        // etcd has none.
        let status = outcome.err().context("etcd reflects")?;
        assert_eq!(status.code(), Code::Unimplemented);
        return Ok(());
    }
    let answer = outcome?
        .into_inner()
        .message()
        .await?
        .context("no answer")?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        bail!("not a list: {answer:?}");
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for service in ["KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth"] {
        let name = format!("etcdserverpb.{service}");
        assert!(names.contains(&name.as_str()), "{names:?}");
    }
    Ok(())
}

async fn an_unknown_method(case: &mut Case) -> Result<()> {
    let mut client = tonic::client::Grpc::new(case.channel.clone());
    client.ready().await?;
    let codec: tonic_prost::ProstCodec<RangeRequest, RangeResponse> =
        tonic_prost::ProstCodec::default();
    let path = "/etcdserverpb.KV/NoSuchMethod".parse()?;
    let request = tonic::Request::new(get("k"));
    let outcome = client.unary(request, path, codec).await;
    let status = outcome.err().context("it was answered")?;
    assert_eq!(status.code(), Code::Unimplemented);
    Ok(())
}
