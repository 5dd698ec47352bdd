//! The object store goes away and comes back: told by every way, and by one line of the log each.

use anyhow::{Context, Result, ensure};
use revkeep_harness::product::VaultPlace;
use revkeep_harness::{Etcd, Gate, SeaweedFs, base_etcd};
use serde_json::Value;
use tempfile::TempDir;

use crate::watched::{PATIENT, Watched, json_lines, number, put, restorable};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_is_told_and_takes_nothing_out_of_service() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    let folder = TempDir::with_prefix("revkeep-status-")?;
    let vault = VaultPlace::bucket(&s3, "status");
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), "status"),
        ..vault.clone()
    };
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    put(&mut client, "before", 5).await?;
    let flags = ["--flush-interval", "200ms", "--log-format", "json"];
    let mut agent = Watched::start(&folder, &etcd.endpoints(), &gated, &flags)?;
    agent.started().await?;
    let before = put(&mut client, "flush", 5).await?;
    let answer = agent.command(&["flush"]).await?.json()?;
    ensure!(number(&answer, "durable_revision")? == before, "{answer}");

    gate.close();
    put(&mut client, "away", 7).await?;
    let retries = "revkeep_upload_retries_total{kind=\"segment\"}";
    agent
        .until_metric(retries, |retries| retries >= 1.0)
        .await?;
    let ask = async |agent: &Watched| agent.reasons().await;
    let told = |codes: &Vec<String>| codes.contains(&"vault_away".to_owned());
    agent.until("the outage", ask, told).await?;
    // Neither restarted nor taken out of service: etcd may live in the same pod.
    ensure!(agent.get("/readyz").await?.0 == 200);
    ensure!(agent.get("/livez").await?.0 == 200);
    let lag = agent.metric("revkeep_lag_seconds").await?;
    agent
        .until_metric("revkeep_lag_seconds", |now| now > lag + 1.0)
        .await?;
    let metrics = agent.metrics().await?;
    for (name, value) in [
        ("revkeep_lag_revisions", 7.0),
        ("revkeep_healthy", 0.0),
        ("revkeep_vault_answers", 0.0),
        ("revkeep_watching", 1.0),
    ] {
        let told = metrics.get(name).copied().context(name)?;
        ensure!(told.to_bits() == f64::to_bits(value), "{name}: {metrics:?}");
    }
    let status = agent.status().await?;
    ensure!(status.durable_revision == before, "{status:?}");
    // Nothing is called durable that is not, and the reason is told with the refusal.
    let late = agent.command(&["flush", "--timeout", "1s"]).await?;
    ensure!(
        late.code == 1 && late.stderr.contains("vault_away"),
        "{late:?}"
    );
    let last = put(&mut client, "later", 3).await?;

    gate.open();
    let answer = agent.command(&["flush", "--timeout", "2m"]).await?.json()?;
    ensure!(number(&answer, "durable_revision")? == last, "{answer}");
    ensure!(restorable(&vault).await? == last);
    let ask = async |agent: &Watched| agent.reasons().await;
    agent.until("health", ask, Vec::is_empty).await?;
    agent
        .until_metric("revkeep_vault_answers", |answers| answers > 0.0)
        .await?;
    // The line about it is written a moment after it is so.
    let ask = async |agent: &Watched| Ok(agent.agent.log().matches("\"healthy\":true").count());
    agent.until("the log", ask, |lines| *lines >= 2).await?;
    let log = agent.agent.log();
    agent.agent.stop().await?;
    one_line_for_each_change(&log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_during_the_outage_waits_for_its_end() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    gate.close();
    let folder = TempDir::with_prefix("revkeep-status-")?;
    let vault = VaultPlace::bucket(&s3, "late");
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), "late"),
        ..vault.clone()
    };
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let last = put(&mut client, "before", 5).await?;
    let mut agent = Watched::start(&folder, &etcd.endpoints(), &gated, &PATIENT)?;
    let ask = async |agent: &Watched| agent.get("/readyz").await;
    agent.until("ready", ask, |(code, _)| *code == 200).await?;
    ensure!(agent.get("/livez").await?.0 == 200);
    let status = agent.status().await?;
    ensure!(
        status.phase == "opening" && !status.vault_error.is_empty(),
        "{status:?}"
    );
    ensure!(agent.reasons().await? == ["starting", "vault_away"]);
    let early = agent.command(&["flush"]).await?;
    ensure!(
        early.code == 1 && early.stderr.contains("starting"),
        "{early:?}"
    );

    gate.open();
    agent.started().await?;
    ensure!(restorable(&vault).await? == last);
    agent.agent.stop().await
}

fn one_line_for_each_change(log: &str) -> Result<()> {
    let lines = json_lines(log)?;
    let count = |message: &str, field: &str, value: Value| {
        let lines = lines.iter().filter(|line| {
            line.get("message").and_then(Value::as_str) == Some(message)
                && (field.is_empty() || line.get(field) == Some(&value))
        });
        lines.count()
    };
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            ensure!(line.get(field).is_some_and(Value::is_string), "{line:?}");
        }
    }
    let changed = "capture changed its state";
    ensure!(count(changed, "to", "snapshotting".into()) == 1, "{log}");
    ensure!(count(changed, "to", "watching".into()) == 1, "{log}");
    ensure!(count(changed, "", Value::Null) == 2, "{log}");
    let away = "the vault does not answer as it should";
    let (gone, back) = (
        count(away, "", Value::Null),
        count("the vault answers again", "", Value::Null),
    );
    // A late answer to something that was asked during the outage may be told after it.
    ensure!(gone == back && (1..=2).contains(&gone), "{log}");
    let health = "the agent's health changed";
    ensure!(count(health, "healthy", true.into()) >= 2, "{log}");
    ensure!(count(health, "healthy", false.into()) >= 2, "{log}");
    Ok(())
}
