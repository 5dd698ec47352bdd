//! Tokens, certificates, probes, and settings that are wrong.

use std::process::Command;
use std::time::Duration;

use super::service::*;
use revkeep_harness::{Certificates, Postgres};
use revkeep_schemas::catalog_api::StatusRequest;
use revkeep_schemas::catalog_api::catalog_client::CatalogClient;

#[tokio::test]
async fn a_caller_without_the_token_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = vault(folder.path()).await;
    let token = folder.path().join("token");
    std::fs::write(&token, "the-token\n").unwrap();
    let catalog = sqlite(folder.path(), "catalog");
    let service = Service::start(
        folder.path(),
        "token",
        &url,
        &catalog,
        &["--token-file", token.to_str().unwrap()],
    )
    .await;
    let mut client = service.client().await;
    let error = client.status(StatusRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    let asked = |token: &str| {
        let mut request = tonic::Request::new(StatusRequest::default());
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    };
    let error = client.status(asked("another")).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    client.status(asked("the-token")).await.unwrap();
    assert_eq!(service.get("/metrics").await.0, 401);
    assert_eq!(service.get("/livez").await.0, 200);
    // A new token is taken up.
    std::fs::write(&token, "the-next\n").unwrap();
    let mut service = service;
    service.process.signal("HUP").unwrap();
    let mut tries = 0;
    while client.status(asked("the-next")).await.is_err() {
        tries += 1;
        assert!(tries < 300, "{}", service.process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.status(asked("the-token")).await.unwrap_err();
    service.ends_in_order().await;
}

#[tokio::test]
async fn a_wrong_setting_ends_it_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = vault(folder.path()).await;
    let catalog = sqlite(folder.path(), "catalog");
    let policy = folder.path().join("keep.toml");
    std::fs::write(&policy, "[default]\nwindoww = '1d'\n").unwrap();
    let none = format!("file://{}/none", folder.path().display());
    for (vault, more, expected) in [
        (&url, vec!["--catalog-schedule", "every day"], "schedule"),
        (&url, vec!["--policy", policy.to_str().unwrap()], "windoww"),
        (&url, vec!["--token-file", "/nowhere"], "/nowhere"),
        (&url, vec!["--time-zone", "Mars"], "time zone"),
        (&none, vec![], "no such folder"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_revkeep-vault"))
            .args([
                "serve",
                "--vault",
                vault,
                "--catalog",
                &catalog,
                "--listen",
                "127.0.0.1:0",
            ])
            .args(&more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{more:?}");
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_revkeep-vault"))
        .args([
            "serve",
            "--vault",
            &url,
            "--catalog",
            "postgres://me:s3cret@127.0.0.1:1/x",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("postgres://me@127.0.0.1:1/x") && !said.contains("s3cret"),
        "{said}"
    );
}

/// Callers with a certificate of the authority are answered, others get the probes alone.
#[tokio::test]
async fn a_certificate_lets_in() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = vault(folder.path()).await;
    let catalog = sqlite(folder.path(), "catalog");
    let made = Certificates::make(&folder.path().join("tls")).unwrap();
    let file = |name: &str| made.file(name).to_str().unwrap().to_owned();
    let read = |name: &str| std::fs::read(made.file(name)).unwrap();
    let (cert, key, ca) = (file("server.crt"), file("server.key"), file("ca.crt"));
    let arguments = ["--cert", &cert, "--key", &key, "--cacert", &ca];
    let service = Service::start(folder.path(), "tls", &url, &catalog, &arguments).await;
    let connect = async |identity: Option<tonic::transport::Identity>| {
        use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.crt")));
        let tls = match identity {
            Some(identity) => tls.identity(identity),
            None => tls,
        };
        let endpoint =
            Endpoint::from_shared(format!("https://127.0.0.1:{}", service.port)).unwrap();
        CatalogClient::new(endpoint.tls_config(tls).unwrap().connect().await.unwrap())
    };
    let error = connect(None)
        .await
        .status(StatusRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    let identity = tonic::transport::Identity::from_pem(read("client.crt"), read("client.key"));
    connect(Some(identity))
        .await
        .status(StatusRequest::default())
        .await
        .unwrap();
    service.ends_in_order().await;
}

/// Probes come without a token, and tell nobody where the database is or who may use it.
#[tokio::test]
async fn probes_tell_whether_and_not_why() {
    let Some(mut server) = Postgres::start().await.unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = vault(folder.path()).await;
    let token = folder.path().join("token");
    std::fs::write(&token, "the-token\n").unwrap();
    let database = server.create_database("probed").await.unwrap();
    let arguments = ["--token-file", token.to_str().unwrap()];
    let mut service = Service::start(folder.path(), "one", &url, &database, &arguments).await;
    service.filled().await;
    let endpoint = format!("http://127.0.0.1:{}", service.port);
    let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest::default();
    let answer = health.check(asked.clone()).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    let mut watched = health.watch(asked.clone()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status, 1);
    assert_eq!(service.get("/readyz").await.0, 200);
    server.kill().unwrap();
    assert_eq!(watched.message().await.unwrap().unwrap().status, 2);
    let answer = health.check(asked).await.unwrap().into_inner();
    assert_eq!(answer.status, 2);
    let (code, text) = service.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(
        !text.contains("127.0.0.1") && !text.contains("postgres"),
        "{text}"
    );
    assert_eq!(service.get("/livez").await.0, 200);
    let told = "the catalog cannot be asked";
    service.process.wait_for_log(told, LONG).await.unwrap();
    service.ends_in_order().await;
}
