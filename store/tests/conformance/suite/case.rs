//! What a case has at hand.

use super::{Keys, RangeRequest, Ranged as _, ResponseHeader, Server, all, delete};
use anyhow::{Context, Result, ensure};
use revkeep_harness::{Etcd, EtcdTool, EtcdVersion};
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// A connection to one member, and what was known when the case began.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Which server is asked.
    pub(crate) version: EtcdVersion,
    /// The revision at which the case began, with an empty key space.
    pub(crate) start: i64,
    /// The members, while the case runs.
    pub(crate) members: Arc<Vec<Etcd>>,
    /// A connection to the first member, or to the one of [`at`](Self::at).
    pub(crate) channel: Channel,
    /// What goes with each request.
    pub(crate) with: With,
    /// The server's keys, if it needs any.
    pub(crate) keys: Option<Arc<Keys>>,
    /// How the connections are kept safe, where they are.
    tls: Option<ClientTlsConfig>,
    header: ResponseHeader,
}

/// The metadata that goes with each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct With {
    pairs: Vec<(&'static str, MetadataValue<Ascii>)>,
}

impl Interceptor for With {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.pairs {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

impl Case {
    /// Connects, and empties the key space of what the case before left.
    pub(crate) async fn begin(server: &mut Server) -> Result<Self> {
        let first = server.members.first().context("a server has members")?;
        let tls = match &server.keys {
            Some(keys) if server.tls => Some(keys.client(keys)?),
            _ => None,
        };
        let mut case = Self {
            version: server.version.clone(),
            start: 0,
            channel: connect(&first.endpoint(), tls.as_ref()).await?,
            members: Arc::new(std::mem::take(&mut server.members)),
            with: With::default(),
            keys: server.keys.clone(),
            tls,
            header: ResponseHeader::default(),
        };
        let emptied = case.delete_range(delete(b"\0").range(b"\0")).await?;
        case.header = emptied.header.context("an answer without header")?;
        case.start = case.header.revision;
        Ok(case)
    }

    /// Gives the members back.
    pub(crate) fn end(self, server: &mut Server) {
        // A case that still shares them (it cannot) would leave the next one to start its own.
        server.members = Arc::into_inner(self.members).unwrap_or_default();
    }

    /// The members, to stop and start them.
    pub(crate) fn members_mut(&mut self) -> Result<&mut Vec<Etcd>> {
        Arc::get_mut(&mut self.members).context("the members are shared")
    }

    /// The same case, spoken to another member.
    pub(crate) async fn at(&self, member: usize) -> Result<Self> {
        self.to(self.members.get(member).context("no such member")?)
            .await
    }

    /// The same case, spoken to a member that the case started.
    pub(crate) async fn to(&self, member: &Etcd) -> Result<Self> {
        Ok(Self {
            channel: connect(&member.endpoint(), self.tls.as_ref()).await?,
            ..self.clone()
        })
    }

    /// The same case, on a connection that shows another certificate, or none. Whether it is taken shows when it is used.
    pub(crate) fn showing(&self, tls: ClientTlsConfig) -> Result<Self> {
        let endpoint = Endpoint::from_shared(self.endpoint()?)?;
        Ok(Self {
            channel: endpoint.tls_config(tls)?.connect_lazy(),
            ..self.clone()
        })
    }

    /// The same case, spoken to another port, without TLS.
    pub(crate) fn unsafely_at(&self, port: u16) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
        Ok(Self {
            channel: endpoint.connect_lazy(),
            ..self.clone()
        })
    }

    /// The server's keys.
    pub(crate) fn keys(&self) -> Result<&Keys> {
        self.keys.as_deref().context("the group asks for no keys")
    }

    /// The same case, with one more pair of metadata on every request.
    pub(crate) fn with(&self, name: &'static str, value: impl AsRef<[u8]>) -> Result<Self> {
        let mut case = self.clone();
        case.with.pairs.push((name, value.as_ref().try_into()?));
        Ok(case)
    }

    /// The token that goes with each request.
    pub(crate) fn token(&self) -> Option<&str> {
        let found = self.with.pairs.iter().find(|(name, _)| *name == "token");
        found.and_then(|(_, value)| value.to_str().ok())
    }

    /// The first member's client URL.
    pub(crate) fn endpoint(&self) -> Result<String> {
        Ok(self.members.first().context("no member")?.endpoint())
    }

    /// The first member's client port.
    pub(crate) fn port(&self) -> Result<u16> {
        let endpoint = self.endpoint()?;
        let port = endpoint.rsplit(':').next().context("a URL with a port")?;
        Ok(port.parse()?)
    }

    /// etcd's tools, aimed at the first member.
    pub(crate) fn tool(&self) -> Result<EtcdTool> {
        Ok(self.members.first().context("no member")?.tool())
    }

    /// The id of the cluster.
    pub(crate) fn cluster_id(&self) -> u64 {
        self.header.cluster_id
    }

    /// The id of the first member.
    pub(crate) fn member_id(&self) -> u64 {
        self.header.member_id
    }

    /// The Raft term at the beginning.
    pub(crate) fn term(&self) -> u64 {
        self.header.raft_term
    }

    /// The header of an answer of the first member at a revision, counted from the beginning of the case.
    #[expect(clippy::unnecessary_wraps, reason = "every answer holds it so")]
    pub(crate) fn header(&self, revisions: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            revision: self.start + revisions,
            ..self.header
        })
    }

    /// The revision now.
    pub(crate) async fn revision(&self) -> Result<i64> {
        let count = RangeRequest {
            count_only: true,
            ..all()
        };
        let answer = self.range(count).await?;
        Ok(answer.header.context("an answer without header")?.revision)
    }

    /// Checks that what the case did made so many revisions.
    pub(crate) async fn made(&self, revisions: i64) -> Result<()> {
        let made = self.revision().await? - self.start;
        ensure!(made == revisions, "{made} revisions instead of {revisions}");
        Ok(())
    }

    /// Whether the server is etcd older than this patch of 3.5.
    pub(crate) fn is_etcd_before(&self, patch: u32) -> bool {
        !self.version.is_store() && self.version.numbers().2 < patch
    }
}

/// A connection to a client URL, as soon as it is served.
async fn connect(endpoint: &str, tls: Option<&ClientTlsConfig>) -> Result<Channel> {
    let mut endpoint = Endpoint::from_shared(endpoint.to_owned())?;
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.clone())?;
    }
    let served = async {
        loop {
            if let Ok(channel) = endpoint.connect().await {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let connected = tokio::time::timeout(Duration::from_secs(30), served).await;
    connected.with_context(|| format!("nobody serves {}", endpoint.uri()))
}
