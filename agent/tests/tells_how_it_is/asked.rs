//! What is asked of an agent by gRPC and by its own commands.

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use revkeep_harness::product::VaultPlace;
use revkeep_harness::{Etcd, base_etcd};
use revkeep_schemas::agent_api::{FlushRequest, SnapshotRequest};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::exposition::Samples;
use crate::watched::{PATIENT, Watched, ask, json_lines, number, put, restorable};

/// The service's name, as clients of gRPC give it.
const SERVICE: &str = "revkeep.agent.v1.Agent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_and_a_snapshot_do_what_they_say() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = TempDir::with_prefix("revkeep-status-")?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    put(&mut client, "before", 5).await?;
    let mut agent = Watched::start(&folder, &etcd.endpoints(), &vault, &PATIENT)?;
    agent.started().await?;

    // What would wait for an hour is durable at once, and really there.
    let revision = put(&mut client, "flush", 20).await?;
    let answer = agent.command(&["flush"]).await?.json()?;
    ensure!(number(&answer, "durable_revision")? == revision, "{answer}");
    ensure!(restorable(&vault).await? == revision);
    flushed(&agent.metrics().await?, revision)?;
    // A flush of nothing new answers the same.
    let mut calls = agent.calls().await?;
    let again = calls.flush(FlushRequest {}).await?.into_inner();
    ensure!(again.durable_revision == revision, "{again:?}");

    // A change that is not flushed waits, and that is told.
    let revision = put(&mut client, "waits", 3).await?;
    agent
        .until_metric("revkeep_lag_revisions", |lag| is(lag, 3))
        .await?;
    agent
        .until_metric("revkeep_lag_seconds", |lag| lag > 1.0)
        .await?;

    // A base now: its revision is the source's, so everything is durable.
    let answer = agent.command(&["snapshot"]).await?.json()?;
    ensure!(number(&answer, "revision")? == revision, "{answer}");
    let hash = client.hash_kv(revision).await?.hash();
    ensure!(number(&answer, "hash_kv")? == i64::from(hash), "{answer}");
    ensure!(restorable(&vault).await? == revision);
    let status = agent.status().await?;
    ensure!(
        status.durable_revision == revision && status.lag_revisions == 0,
        "{status:?}"
    );
    let base = status.last_base.context("no base")?;
    ensure!(base.revision == revision, "{base:?}");
    based(&agent.metrics().await?, revision)?;

    // Two that ask at once get a base each.
    let mut other = calls.clone();
    let (one, two) = tokio::join!(
        calls.snapshot(SnapshotRequest {}),
        other.snapshot(SnapshotRequest {})
    );
    for answer in [one?.into_inner(), two?.into_inner()] {
        ensure!(answer.revision == revision, "{answer:?}");
    }
    ensure!(is(agent.metric("revkeep_snapshots_total").await?, 4));

    as_clients_expect(&agent).await?;
    let url = agent.url();
    let table = ask(&["status", "--agent", &url]).await?;
    ensure!(table.stdout.contains("test, timeline 0001"), "{table:?}");
    agent.agent.stop().await?;
    let gone = ask(&["flush", "--agent", &url]).await?;
    ensure!(
        gone.code == 2 && gone.stderr.contains("--listen-status"),
        "{gone:?}"
    );
    let gone = ask(&["flush", "--agent", &url, "--log-format", "json"]).await?;
    let lines = json_lines(&gone.stderr)?;
    ensure!(
        lines.len() == 1 && lines[0].contains_key("error"),
        "{gone:?}"
    );
    Ok(())
}

/// Whole numbers are exact in a metric.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn is(value: f64, number: i64) -> bool {
    value.to_bits() == (number as f64).to_bits()
}

fn equal(metrics: &Samples, expected: &[(&str, i64)]) -> Result<()> {
    for (name, number) in expected {
        let value = metrics.get(*name).copied();
        ensure!(
            value.is_some_and(|value| is(value, *number)),
            "{name} is not {number}: {metrics:?}"
        );
    }
    Ok(())
}

fn flushed(metrics: &Samples, revision: i64) -> Result<()> {
    let expected = [
        ("revkeep_source_revision", revision),
        ("revkeep_durable_revision", revision),
        ("revkeep_lag_revisions", 0),
        ("revkeep_lag_seconds", 0),
        ("revkeep_uploads_total{kind=\"segment\"}", 1),
        ("revkeep_uploads_total{kind=\"base\"}", 1),
        ("revkeep_upload_retries_total{kind=\"segment\"}", 0),
        ("revkeep_snapshots_total", 1),
        ("revkeep_gaps_total", 0),
        ("revkeep_healthy", 1),
        ("revkeep_watching", 1),
        ("revkeep_vault_answers", 1),
        (
            "revkeep_timeline_info{cluster=\"test\",timeline=\"0001\"}",
            1,
        ),
    ];
    equal(metrics, &expected)
}

fn based(metrics: &Samples, revision: i64) -> Result<()> {
    let expected = [
        ("revkeep_last_base_revision", revision),
        ("revkeep_durable_revision", revision),
        ("revkeep_uploads_total{kind=\"base\"}", 2),
        ("revkeep_snapshots_total", 2),
    ];
    equal(metrics, &expected)?;
    let value = |name: &str| metrics.get(name).copied().context(name.to_owned());
    let bytes = value("revkeep_snapshot_size_bytes")?;
    ensure!(bytes >= 4096.0 && is(bytes % 4096.0, 0), "{bytes}");
    ensure!((0.0..60.0).contains(&value("revkeep_snapshot_duration_seconds")?));
    let taken = value("revkeep_last_base_timestamp_seconds")?;
    let now = i32::try_from(Utc::now().timestamp())?;
    ensure!((-1.0..600.0).contains(&(f64::from(now) - taken)), "{taken}");
    Ok(())
}

async fn as_clients_expect(agent: &Watched) -> Result<()> {
    let channel = Channel::from_shared(agent.url())?.connect().await?;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", SERVICE] {
        let service = service.to_owned();
        let answer = health.check(HealthCheckRequest { service }).await?;
        let answer = answer.into_inner();
        ensure!(answer.status() == ServingStatus::Serving, "{answer:?}");
    }
    let question = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let questions = futures::stream::iter([question]);
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection
        .server_reflection_info(questions)
        .await?
        .into_inner();
    let answer = answers
        .message()
        .await?
        .and_then(|one| one.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        anyhow::bail!("{answer:?}");
    };
    ensure!(
        list.service.iter().any(|one| one.name == SERVICE),
        "{list:?}"
    );
    ensure!(agent.get("/livez").await? == (200, "ok\n".to_owned()));
    ensure!(agent.get("/else").await?.0 == 404);
    Ok(())
}
