//! What is asked of a running agent.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use revkeep_schemas::agent_api::agent_client::AgentClient;
use revkeep_schemas::agent_api::{
    FlushRequest, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use crate::AgentError;
use crate::source::read_file;
use crate::status::{DEFAULT_ADDRESS, words};

/// How long a connect and a question about the status may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Which agent is asked, and how long it may take.
#[derive(Debug, Args)]
pub(super) struct RemoteArguments {
    /// Where the running agent serves its status (its --listen-status).
    #[arg(long, env = "REVKEEP_AGENT", default_value = DEFAULT_ADDRESS, value_name = "URL")]
    agent: String,
    #[command(flatten)]
    tls: RemoteTls,
}

/// How an agent is reached that serves its status by TLS.
#[derive(Debug, Args)]
pub(super) struct RemoteTls {
    /// The authority that signed the agent's --status-cert; the system's by default. For https://HOST:PORT.
    #[arg(
        id = "agent_cacert",
        long = "agent-cacert",
        env = "REVKEEP_AGENT_CACERT",
        value_name = "FILE"
    )]
    cacert: Option<PathBuf>,
    /// A certificate of the agent's --status-cacert.
    #[arg(
        id = "agent_cert",
        long = "agent-cert",
        env = "REVKEEP_AGENT_CERT",
        value_name = "FILE",
        requires = "agent_key"
    )]
    cert: Option<PathBuf>,
    /// Its private key.
    #[arg(
        id = "agent_key",
        long = "agent-key",
        env = "REVKEEP_AGENT_KEY",
        value_name = "FILE",
        requires = "agent_cert"
    )]
    key: Option<PathBuf>,
}

impl RemoteTls {
    async fn config(&self) -> Result<ClientTlsConfig, AgentError> {
        let mut config = ClientTlsConfig::new();
        config = match &self.cacert {
            Some(path) => config.ca_certificate(Certificate::from_pem(read_file(path).await?)),
            None => config.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let (cert, key) = (read_file(cert).await?, read_file(key).await?);
            config = config.identity(Identity::from_pem(cert, key));
        }
        Ok(config)
    }
}

impl RemoteArguments {
    pub(super) async fn connect(&self) -> Result<Remote, AgentError> {
        Remote::connect(&self.agent, &self.tls).await
    }
}

/// A running agent.
#[derive(Debug)]
pub(super) struct Remote {
    client: AgentClient<Channel>,
    url: String,
}

impl Remote {
    /// Connects to `URL` or `HOST:PORT`.
    pub(super) async fn connect(agent: &str, tls: &RemoteTls) -> Result<Self, AgentError> {
        let url = if agent.contains("://") {
            agent.to_owned()
        } else {
            format!("http://{agent}")
        };
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| AgentError::Config(format!("--agent: {url}: {error}")))?;
        let endpoint = if url.starts_with("https://") {
            let with_tls = endpoint.tls_config(tls.config().await?);
            with_tls
                .map_err(|error| AgentError::Config(format!("--agent: {url}: {}", whole(&error))))?
        } else {
            endpoint
        };
        let channel = endpoint.connect_timeout(ANSWERED_WITHIN).connect().await;
        let channel = channel.map_err(|error| AgentError::AgentAway {
            url: url.clone(),
            reason: whole(&error),
        })?;
        Ok(Self {
            client: AgentClient::new(channel),
            url,
        })
    }

    /// How it is.
    pub(super) async fn status(&mut self) -> Result<StatusResponse, AgentError> {
        let asking = self.client.status(StatusRequest {});
        let answer = tokio::time::timeout(ANSWERED_WITHIN, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        Ok(answer.map_err(refused(&self.url))?.into_inner())
    }

    /// Stores what it holds; gives the durable revision.
    pub(super) async fn flush(&mut self, limit: Duration) -> Result<i64, AgentError> {
        let asking = self.client.flush(FlushRequest {});
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => {
                let answer = answer.map_err(refused(&self.url))?;
                Ok(answer.into_inner().durable_revision)
            }
            Err(_) => Err(self.late("flush", limit).await),
        }
    }

    /// Takes a base.
    pub(super) async fn snapshot(
        &mut self,
        limit: Duration,
    ) -> Result<SnapshotResponse, AgentError> {
        let asking = self.client.snapshot(SnapshotRequest {});
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => Ok(answer.map_err(refused(&self.url))?.into_inner()),
            Err(_) => Err(self.late("snapshot", limit).await),
        }
    }

    /// Why it takes so long.
    async fn late(&mut self, what: &str, limit: Duration) -> AgentError {
        let mut reason = format!("{what}: not done within {}", words(limit));
        if let Ok(status) = self.status().await {
            reason = format!(
                "{reason}; durable is {}, the source has {}",
                status.durable_revision, status.source_revision
            );
            for one in status.reasons {
                reason = format!("{reason}; {}: {}", one.code, one.message);
            }
        }
        AgentError::Agent {
            url: self.url.clone(),
            reason,
        }
    }
}

fn refused(url: &str) -> impl FnOnce(Status) -> AgentError {
    move |status| {
        let (url, reason) = (url.to_owned(), status.message().to_owned());
        match status.code() {
            Code::Unimplemented => AgentError::Agent {
                url,
                reason: "it is no agent, or an older one".to_owned(),
            },
            _ => AgentError::Agent { url, reason },
        }
    }
}

/// An error with its causes: tonic's own says only that the transport failed.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let source_text = source.to_string();
        if !text.contains(&source_text) {
            text = format!("{text}: {source_text}");
        }
        cause = source.source();
    }
    text
}
