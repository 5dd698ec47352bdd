//! An agent that serves its status, and what is asked of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use revkeep_harness::product::{Agent, Answer, CLUSTER, VaultPlace, run};
use revkeep_harness::{binary, free_port, http};
use revkeep_schemas::agent_api::agent_client::AgentClient;
use revkeep_schemas::agent_api::{StatusRequest, StatusResponse};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::Channel;

use crate::exposition::{Samples, parse};

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// An agent that flushes and takes bases only when it is asked to.
pub(crate) const PATIENT: [&str; 4] =
    ["--flush-interval", "1h", "--snapshot-schedule", "0 0 1 1 *"];

/// An agent with a status.
pub(crate) struct Watched {
    pub(crate) agent: Agent,
    port: u16,
}

impl Watched {
    pub(crate) fn start(
        folder: &TempDir,
        endpoints: &[String],
        vault: &VaultPlace,
        flags: &[&str],
    ) -> Result<Self> {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let flags = [&["--listen-status", &listen], flags].concat();
        let agent = Agent::start(&folder.path().join("agent"), endpoints, vault, &flags)?;
        Ok(Self { agent, port })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Status code and body.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        http::request("GET", self.port, path).await
    }

    pub(crate) async fn metrics(&self) -> Result<Samples> {
        let (status, text) = self.get("/metrics").await?;
        ensure!(status == 200, "{status}: {text}");
        parse(&text)
    }

    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let all = self.metrics().await?;
        let value = all.get(name).copied();
        value.with_context(|| format!("{name} is not among {all:?}"))
    }

    pub(crate) async fn calls(&self) -> Result<AgentClient<Channel>> {
        Ok(AgentClient::connect(self.url()).await?)
    }

    pub(crate) async fn status(&self) -> Result<StatusResponse> {
        let answer = self.calls().await?.status(StatusRequest {}).await?;
        Ok(answer.into_inner())
    }

    /// The codes of what stands against a good backup.
    pub(crate) async fn reasons(&self) -> Result<Vec<String>> {
        let status = self.status().await?;
        ensure!(status.healthy == status.reasons.is_empty(), "{status:?}");
        let reasons = status.reasons.into_iter();
        Ok(reasons.map(|reason| reason.code).collect())
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until<T: Debug>(
        &mut self,
        what: &str,
        ask: impl AsyncFn(&Self) -> Result<T>,
        good: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let answer = ask(self).await;
            if answer.as_ref().is_ok_and(&good) {
                return answer;
            }
            self.agent.alive()?;
            ensure!(
                Instant::now() < deadline,
                "{what}: {answer:?}\n{}",
                self.agent.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the metric is as it should be.
    pub(crate) async fn until_metric(
        &mut self,
        name: &str,
        good: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        let ask = async |agent: &Self| agent.metric(name).await;
        self.until(name, ask, |value| good(*value)).await
    }

    /// Waits until it reads its source and has a base.
    pub(crate) async fn started(&mut self) -> Result<()> {
        let ask = async |agent: &Self| agent.get("/readyz").await;
        self.until("ready", ask, |(status, _)| *status == 200)
            .await?;
        self.until_metric("revkeep_durable_revision", |durable| durable > 0.0)
            .await?;
        Ok(())
    }

    /// Runs a command that asks the agent, with JSON as its answer.
    pub(crate) async fn command(&self, command: &[&str]) -> Result<Answer> {
        let url = self.url();
        ask(&[command, &["--agent", &url, "-w", "json"]].concat()).await
    }
}

/// Runs a command of the agent as in its container, where variables name the vault and the cluster.
pub(crate) async fn ask(arguments: &[&str]) -> Result<Answer> {
    let output = Command::new(binary("revkeep-agent")?)
        .args(arguments)
        .envs([
            ("REVKEEP_VAULT", "file:///nowhere"),
            ("REVKEEP_CLUSTER", CLUSTER),
        ])
        .kill_on_drop(true)
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer {
        code: output.status.code().context("ended by a signal")?,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

/// Puts so many keys, one a revision, and gives the last revision.
pub(crate) async fn put(client: &mut Client, prefix: &str, keys: usize) -> Result<i64> {
    let mut revision = 0;
    for n in 0..keys {
        let answer = client
            .put(format!("{prefix}/{n}"), vec![7; 100], None)
            .await?;
        revision = answer.header().context("no header")?.revision();
    }
    Ok(revision)
}

/// The newest revision that `revkeep` can restore.
pub(crate) async fn restorable(vault: &VaultPlace) -> Result<i64> {
    let info = run("revkeep", vault, &["info", CLUSTER, "-w", "json"])
        .await?
        .json()?;
    let ranges = info.pointer("/timelines/0/coverage");
    let last = ranges.and_then(|ranges| ranges.as_array()?.last()?.get("last")?.as_i64());
    last.with_context(|| format!("nothing is covered: {info}"))
}

/// The field of an answer as a whole number.
pub(crate) fn number(answer: &Value, field: &str) -> Result<i64> {
    let number = answer.get(field).and_then(Value::as_i64);
    number.with_context(|| format!("{field} is no number in {answer}"))
}

/// The log's lines, each of which must be a JSON object.
pub(crate) fn json_lines(log: &str) -> Result<Vec<BTreeMap<String, Value>>> {
    let lines = log.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
        .collect()
}
