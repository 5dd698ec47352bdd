//! `revkeep-vault serve`: answers what the catalog says, to those who may ask; does each piece of work once; ends in order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use revkeep_harness::{Certificates, Postgres, Process, free_port, http};
use revkeep_schemas::Revision;
use revkeep_schemas::catalog_api::catalog_client::CatalogClient;
use revkeep_schemas::catalog_api::{
    CoverageRequest, PointRequest, RevisionAtRequest, Scope, StatusRequest, TouchingRequest,
    UsageRequest,
};
use revkeep_vault::catalog::Catalog;
use revkeep_vault::service::{Claims, Job};
use revkeep_vault::{BaseFacts, Head, ProofKind, SourceIdentity, Timeline, Vault};
use tonic::transport::Channel;
use world::{Rows, SMALL, rows, segment};

const LONG: Duration = Duration::from_secs(60);

/// A vault in a folder with one cluster, `prod`: a base at 100, segments to 150.
async fn vault(folder: &Path) -> (String, Timeline) {
    let url = format!("file://{}/vault", folder.display());
    let vault = Vault::create(&url).await.unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let source = SourceIdentity::default();
    let timeline = cluster.create_timeline(source, None).await.unwrap();
    let all = rows(2..151, 50);
    let old: Vec<_> = all
        .iter()
        .filter(|row| row.key.main.0 <= 100)
        .cloned()
        .collect();
    let facts = BaseFacts {
        revision: Revision(100),
        ..BaseFacts::default()
    };
    timeline
        .write_base_with(facts, Rows::of(&old), None, SMALL)
        .await
        .unwrap();
    timeline
        .put_segment(&segment(&timeline, &all, 101, 150))
        .await
        .unwrap();
    (url, timeline)
}

struct Service {
    process: Process,
    port: u16,
}

impl Service {
    /// Starts one, and waits until it answers.
    async fn start(folder: &Path, name: &str, vault: &str, catalog: &str, more: &[&str]) -> Self {
        let port = free_port().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_revkeep-vault"));
        command
            .args([
                "serve",
                "--vault",
                vault,
                "--catalog",
                catalog,
                "--jitter",
                "0s",
            ])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(more)
            .env("RUST_LOG", "info");
        let process = Process::start(command, &folder.join(format!("{name}.log"))).unwrap();
        let mut service = Self { process, port };
        service.process.wait_for_log("serving", LONG).await.unwrap();
        service
    }

    async fn filled(&mut self) {
        self.process
            .wait_for_log("the catalog is up to date", LONG)
            .await
            .unwrap();
    }

    async fn client(&self) -> CatalogClient<Channel> {
        CatalogClient::connect(format!("http://127.0.0.1:{}", self.port))
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        http::request("GET", self.port, path).await.unwrap()
    }

    async fn ends_in_order(mut self) {
        self.process.terminate().unwrap();
        let ended = self.process.wait(LONG).await.unwrap();
        assert!(ended.success(), "{}", self.process.log());
    }
}

fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite://{}/{name}.sqlite", folder.display())
}

fn prod() -> Scope {
    Scope {
        cluster: "prod".to_owned(),
        timeline: String::new(),
    }
}

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

#[tokio::test]
async fn proves_on_a_schedule_what_the_vault_holds() {
    // What drills start stands beside this program.
    for program in ["revkeep", "revkeep-store"] {
        revkeep_harness::binary(program).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    let catalog = sqlite(folder.path(), "catalog");
    let ledger = folder.path().join("ledger").display().to_string();
    let often = "* * * * * *";
    let proofs = [
        "--catalog-schedule",
        NEVER,
        "--verify-schedule",
        often,
        "--drill-schedule",
        often,
        "--ledger",
        &ledger,
    ];
    let cluster = timeline.cluster();
    put_head(&timeline).await;
    let mut service = Service::start(folder.path(), "one", &url, &catalog, &proofs).await;
    let mut client = service.client().await;
    let log = &mut service.process;
    log.wait_for_log("verified", LONG).await.unwrap();
    log.wait_for_log("a drill went well", LONG).await.unwrap();
    // Its catalog knows at once, though no head says so.
    for kind in ["verification", "drill"] {
        let mut tries = 0;
        loop {
            let known = client.verifications(prod()).await.unwrap().into_inner();
            if known.verifications.iter().any(|one| one.kind == kind) {
                break;
            }
            tries += 1;
            assert!(tries < 600, "{kind}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    for kind in [ProofKind::Verification, ProofKind::Drill] {
        let receipts = cluster.receipts(kind, 1).await.unwrap();
        assert!(receipts[0].1.sound, "{receipts:?}");
    }
    let segments = timeline.segments().await.unwrap();
    let file = folder.path().join("vault").join(&segments[0].name);
    std::fs::remove_file(file).unwrap();
    log.wait_for_log("found by a verification", LONG)
        .await
        .unwrap();
    let metrics = async |line: &str| service.get("/metrics").await.1.contains(line);
    let failed = "revkeep_vault_job_runs_total{job=\"verification\",outcome=\"failed\"}";
    for _ in 0..600 {
        if metrics(failed).await && !metrics(&format!("{failed} 0")).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!metrics(&format!("{failed} 0")).await);
    service.ends_in_order().await;
}

/// A schedule that no test lives to see.
const NEVER: &str = "0 0 29 2 *";

/// The head as an agent writes it, which is believed until names are listed again.
async fn put_head(timeline: &Timeline) {
    let head = Head {
        timeline: timeline.id(),
        base_revision: Revision(100),
        durable_revision: Revision(150),
        source_revision: Revision(150),
        heartbeat_unix_ms: Utc::now().timestamp_millis(),
        ..Head::default()
    };
    timeline.cluster().put_head(&head).await.unwrap();
}

/// Has all that was stored just now have been stored so many days ago.
fn age(folder: &Path, days: u64) {
    let now = std::time::SystemTime::now();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, days);
            continue;
        }
        let file = std::fs::File::open(&path).unwrap();
        let stored = file.metadata().unwrap().modified().unwrap();
        if now.duration_since(stored).unwrap_or_default() < Duration::from_secs(86_400) {
            file.set_modified(now - Duration::from_secs(days * 86_400))
                .unwrap();
        }
    }
}

/// What the service itself deletes is known at once, not by the next sync or when all names are listed again.
#[tokio::test]
async fn what_it_deleted_is_not_called_recoverable() {
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    // Bases that were stored together would count as one, of which the first stays.
    age(&folder.path().join("vault"), 50);
    let all = rows(150..151, 50);
    let facts = BaseFacts {
        revision: Revision(150),
        compact_revision: Revision(150),
        ..BaseFacts::default()
    };
    timeline
        .write_base_with(facts, Rows::of(&all), None, SMALL)
        .await
        .unwrap();
    put_head(&timeline).await;
    age(&folder.path().join("vault"), 40);
    let policy = folder.path().join("keep.toml");
    std::fs::write(&policy, "[default]\nwindow = '999d'\n").unwrap();
    let catalog = sqlite(folder.path(), "catalog");
    let often = "* * * * * *";
    let arguments = [
        "--policy",
        policy.to_str().unwrap(),
        "--catalog-schedule",
        NEVER,
        "--retention-schedule",
        often,
    ];
    let mut service = Service::start(folder.path(), "one", &url, &catalog, &arguments).await;
    service.filled().await;
    let mut client = service.client().await;
    let point = async |client: &mut CatalogClient<Channel>| {
        let point = PointRequest {
            scope: Some(prod()),
            revision: 120,
        };
        client.point(point).await.unwrap().into_inner().recoverable
    };
    assert!(point(&mut client).await);
    let rules = "[default]\nwindow = '1d'\ngrace = '0s'\ndaily = 0\nmonthly = 0\nminimum = 1\n";
    std::fs::write(&policy, rules).unwrap();
    service.process.signal("HUP").unwrap();
    service.process.wait_for_log("deleted", LONG).await.unwrap();
    let mut tries = 0;
    while point(&mut client).await {
        tries += 1;
        assert!(tries < 600, "{}", service.process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let runs = client.retention_runs(prod()).await.unwrap().into_inner();
    assert_eq!(runs.runs[0].state, "swept");
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

fn slot(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What both kinds of claims promise.
async fn claims_are_had_once(claims: Claims, expires: bool) {
    let job = Job::Retention;
    let now = Utc::now();
    for at in [60, 120, 180] {
        let mut running = tokio::task::JoinSet::new();
        for holder in 0..8 {
            let claims = claims.clone();
            running.spawn(async move {
                let holder = format!("service-{holder}");
                claims
                    .claim(job, slot(at), &holder, now)
                    .await
                    .unwrap()
                    .then_some(holder)
            });
        }
        let mut won = Vec::new();
        while let Some(claimed) = running.join_next().await {
            won.extend(claimed.unwrap());
        }
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(claims.renew(job, slot(at), &won[0], now).await.unwrap());
        claims.release(job, slot(at), &won[0], true).await.unwrap();
        // It is done: nobody does it again, nor what was due before.
        for earlier in [at, at - 60] {
            assert!(
                !claims.claim(job, slot(earlier), "late", now).await.unwrap(),
                "{earlier}"
            );
        }
    }
    // What is given up is taken on by another one.
    assert!(claims.claim(job, slot(240), "one", now).await.unwrap());
    claims.release(job, slot(240), "one", false).await.unwrap();
    assert!(
        claims
            .claim(job, slot(240), "two", now + TimeDelta::seconds(1))
            .await
            .unwrap()
    );
    if expires {
        // One that is silent for long is taken over, and hears of it.
        let later = now + TimeDelta::minutes(10);
        assert!(!claims.claim(job, slot(300), "three", now).await.unwrap());
        assert!(claims.claim(job, slot(300), "three", later).await.unwrap());
        assert!(!claims.renew(job, slot(240), "two", later).await.unwrap());
    }
    // Another job is another matter.
    assert!(
        claims
            .claim(Job::CatalogSync, slot(60), "one", now)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn each_piece_of_work_is_done_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    let vault = timeline.cluster().vault().clone();
    claims_are_had_once(Claims::Vault(vault.clone()), false).await;
    let file = sqlite(folder.path(), "claims").parse().unwrap();
    let catalog = Catalog::open(&file).await.unwrap();
    claims_are_had_once(Claims::Database(catalog), true).await;
    let Some(server) = Postgres::start().await.unwrap() else {
        return;
    };
    let database = server.create_database("claims").await.unwrap();
    let catalog = Catalog::open(&database.parse().unwrap()).await.unwrap();
    claims_are_had_once(Claims::Database(catalog), true).await;

    // Three real ones with one catalog: each second's work is done by one of them.
    let database = server.create_database("fleet").await.unwrap();
    let mut services = Vec::new();
    for name in ["a", "b", "c"] {
        let every_second = ["--catalog-schedule", "* * * * * *"];
        services.push(Service::start(folder.path(), name, &url, &database, &every_second).await);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let sql = "SELECT COUNT(*) FROM leases WHERE job = 'catalog-sync'";
    assert_eq!(server.sql("fleet", sql).await.unwrap(), "1");
    let (mut done, mut left) = (0, 0);
    for service in &services {
        let (_, metrics) = service.get("/metrics").await;
        let count = |outcome: &str| -> u64 {
            let line = format!("job=\"catalog-sync\",outcome=\"{outcome}\"}} ");
            let found = metrics.lines().find_map(|one| one.split(&line).nth(1));
            found.map_or(0, |count| count.parse().unwrap())
        };
        done += count("succeeded");
        left += count("elsewhere");
        assert_eq!(count("failed"), 0, "{metrics}");
    }
    assert!(done >= 2, "{done} done, {left} left");
    // Had each done all, none would have been left to another.
    assert!(left >= done, "{done} done, {left} left");
    for service in services {
        service.ends_in_order().await;
    }
}
