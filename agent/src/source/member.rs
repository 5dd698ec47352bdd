//! One member and the questions that the agent asks it. Every one is cheap, but for the snapshot and the hash.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Client, GetOptions, SnapshotStreaming};
use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::Checkpoint;

use super::watching::Opening;
use super::{Connection, Message, Watch, denied};
use crate::AgentError;
use crate::capture::joiner::{Joiner, Transaction};

/// How soon a watch is ended that may not be.
const REFUSED_WITHIN: Duration = Duration::from_millis(200);

/// What a member says of itself and its cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The member's id.
    pub member_id: u64,
    /// etcd's version, such as `3.5.1`.
    pub version: String,
    /// The Raft term.
    pub raft_term: u64,
    /// The Raft index.
    pub raft_index: u64,
    /// The id of the leader that the member knows; 0 for none.
    pub leader: u64,
    /// Whether it only learns.
    pub learner: bool,
    /// The revision that it has applied.
    pub revision: Revision,
    /// What it says is wrong, such as an alarm.
    pub errors: Vec<String>,
}

/// A key at one revision of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAt {
    /// The stored value, as the row's; `None` where the key does not live.
    Found(Option<Vec<u8>>),
    /// The revision is compacted.
    Compacted,
    /// The member does not have the revision yet.
    Later,
}

/// The rows of one revision of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionAt {
    /// Their digest.
    Rows(RowDigest),
    /// The revision is compacted, or at the compact revision, where rows may be missing.
    Compacted,
    /// The member does not have the revision yet.
    Later,
}

/// A connection to one member.
#[derive(Clone)]
pub struct Member {
    pub(super) client: Client,
    endpoint: String,
    timeout: Duration,
    connection: Connection,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Connects to one endpoint and asks who is there.
    pub async fn connect(
        connection: &Connection,
        endpoint: &str,
    ) -> Result<(Self, Identity), AgentError> {
        let member = Self {
            client: connection.dial(endpoint).await?,
            endpoint: endpoint.to_owned(),
            timeout: connection.access().command_timeout,
            connection: connection.clone(),
        };
        let identity = member.identity().await.map_err(|error| match error {
            AgentError::Source { source, .. } => AgentError::Connect {
                endpoint: endpoint.to_owned(),
                reason: source.to_string(),
            },
            other => other,
        })?;
        Ok((member, identity))
    }

    /// The endpoint, as it was given.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How it is reached, and the others.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks for the member's status.
    pub async fn identity(&self) -> Result<Identity, AgentError> {
        let mut client = self.client.maintenance_client();
        let status = self.ask("status", client.status()).await?;
        let header = status.header();
        Ok(Identity {
            cluster_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            member_id: header.map_or(0, etcd_client::ResponseHeader::member_id),
            version: status.version().to_owned(),
            raft_term: status.raft_term(),
            raft_index: status.raft_index(),
            leader: status.leader(),
            learner: status.is_learner(),
            revision: Revision(header.map_or(0, etcd_client::ResponseHeader::revision)),
            errors: status.errors().to_vec(),
        })
    }

    /// The cluster's current revision: a linearizable read, so that a member that lags behind does not mislead.
    pub async fn current_revision(&self) -> Result<Revision, AgentError> {
        let mut client = self.client.kv_client();
        let options = GetOptions::new().with_count_only();
        let response = self.ask("range", client.get("\0", Some(options))).await?;
        Ok(Revision(
            response
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision),
        ))
    }

    /// What a key is at a revision of this member, whatever the others say.
    pub async fn key_at(&self, key: &[u8], at: Revision) -> Result<KeyAt, AgentError> {
        let mut client = self
            .client
            .kv_client()
            .max_decoding_message_size(usize::MAX);
        let options = GetOptions::new().with_revision(at.0).with_serializable();
        match self.ask("range", client.get(key, Some(options))).await {
            Ok(response) => Ok(KeyAt::Found(response.kvs().first().map(|kv| {
                KeyValue {
                    key: kv.key(),
                    create_revision: kv.create_revision(),
                    mod_revision: kv.mod_revision(),
                    version: kv.version(),
                    value: kv.value(),
                    lease: kv.lease(),
                }
                .encode()
            }))),
            Err(AgentError::Source { source, .. }) if is_compacted(&source) => Ok(KeyAt::Compacted),
            Err(AgentError::Source { source, .. }) if is_later(&source) => Ok(KeyAt::Later),
            Err(error) => Err(error),
        }
    }

    /// The rows of one revision that the member has, read by a watch that ends with it.
    pub async fn transaction_at(&self, at: Revision) -> Result<TransactionAt, AgentError> {
        if self.identity().await?.revision < at {
            return Ok(TransactionAt::Later);
        }
        let reading = async {
            let mut joiner = Joiner::new(at.previous());
            let mut watch = self.watch_all(at).await?;
            loop {
                let (changes, fragment) = match watch.next().await? {
                    Message::Compacted { .. } => return Ok(None),
                    Message::Events {
                        changes, fragment, ..
                    } => (changes, fragment),
                    Message::Created | Message::Progress(_) => continue,
                };
                let mut whole = None;
                for change in changes {
                    match joiner.push(change) {
                        Ok(done) => whole = whole.or(done),
                        // Its first rows are compacted.
                        Err(_) => return Ok(None),
                    }
                }
                if let Some(whole) = whole.or_else(|| joiner.end_of_response(fragment)) {
                    return Ok(Some(whole));
                }
            }
        };
        let read: Result<Option<Transaction>, AgentError> =
            match tokio::time::timeout(self.timeout, reading).await {
                Ok(read) => read,
                Err(_) => Err(AgentError::Connect {
                    endpoint: self.endpoint.clone(),
                    reason: format!("no answer to a watch from revision {at}"),
                }),
            };
        let Some(transaction) = read? else {
            return Ok(TransactionAt::Compacted);
        };
        if self.compacted_above(at.previous()).await?.is_some() {
            return Ok(TransactionAt::Compacted);
        }
        let mut digest = RowDigest::default();
        for row in &transaction.rows {
            digest.add(&row.as_row());
        }
        Ok(TransactionAt::Rows(digest))
    }

    /// Opens the stream of a snapshot. It must be drained at once: the member keeps a read transaction open meanwhile.
    pub async fn snapshot(&self) -> Result<SnapshotStreaming, AgentError> {
        let mut client = self.client.maintenance_client();
        self.ask("snapshot", client.snapshot()).await
    }

    /// The next message of a snapshot, in time.
    pub async fn snapshot_message(
        &self,
        stream: &mut SnapshotStreaming,
    ) -> Result<Option<etcd_client::SnapshotResponse>, AgentError> {
        let patience = self.timeout.max(Duration::from_secs(60));
        self.ask_within(patience, "snapshot", stream.message())
            .await
    }

    /// Asks for the hash of all rows at a revision. `None` when it cannot be had any more: the revision was compacted
    /// meanwhile. The member holds its read lock for the scan, so this is asked once for each base and never polled.
    pub async fn hash_kv(&self, revision: Revision) -> Result<Option<Checkpoint>, AgentError> {
        let mut client = self.client.maintenance_client();
        let patience = self.timeout.max(Duration::from_secs(120));
        let answer = self.ask_within(patience, "hashkv", client.hash_kv(revision.0));
        match answer.await {
            Ok(response) => Ok(Some(Checkpoint {
                revision,
                compact_revision: Revision(response.compact_version().max(0)),
                hash: response.hash(),
            })),
            Err(AgentError::Source { source, .. }) if is_compacted(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The TTL in seconds that the lease was granted with; `None` when it is gone.
    pub async fn granted_ttl(&self, lease: i64) -> Result<Option<i64>, AgentError> {
        let mut client = self.client.lease_client();
        let response = self
            .ask("lease time to live", client.time_to_live(lease, None))
            .await?;
        Ok((response.granted_ttl() > 0).then(|| response.granted_ttl()))
    }

    /// The ids of all leases that live.
    pub async fn leases(&self) -> Result<Vec<i64>, AgentError> {
        let mut client = self.client.lease_client();
        let response = self.ask("leases", client.leases()).await?;
        Ok(response
            .leases()
            .iter()
            .map(etcd_client::LeaseStatus::id)
            .collect())
    }

    /// The source's compact revision, if it is above `known`, with the revision at which the source stood then.
    ///
    /// A range at the known revision costs nothing and fails once that revision is compacted; only then a watch below
    /// it is opened, which the server cancels at once and names the compact revision (etcd,
    /// `server/storage/mvcc/watchable_store.go`).
    pub async fn compacted_above(
        &self,
        known: Revision,
    ) -> Result<Option<(Revision, Revision)>, AgentError> {
        let probe = known.max(Revision::INITIAL);
        let mut client = self.client.kv_client();
        let options = GetOptions::new()
            .with_count_only()
            .with_serializable()
            .with_revision(probe.0);
        match self.ask("range", client.get("\0", Some(options))).await {
            Ok(_) => return Ok(None),
            Err(AgentError::Source { source, .. }) if is_compacted(&source) => {}
            Err(error) => return Err(error),
        }
        let mut watch = self.watch_key(probe).await?;
        loop {
            let message = tokio::time::timeout(self.timeout, watch.next()).await;
            match message {
                Ok(Ok(Message::Compacted { compact })) if compact > known => {
                    // The canceled watch's header names no revision. Read afterwards, it is never too low.
                    return Ok(Some((self.current_revision().await?, compact)));
                }
                Ok(Ok(Message::Compacted { .. })) | Err(_) => return Ok(None),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Watches every key from `first` on.
    pub async fn watch_all(&self, first: Revision) -> Result<Watch, AgentError> {
        self.watch(first, true).await
    }

    /// Opens such a watch, waits until the server has made it, and lets go of it.
    pub(crate) async fn tries_watch(&self, first: Revision) -> Result<(), AgentError> {
        let mut watch = self.watch_all(first).await?;
        let Ok(made) = tokio::time::timeout(self.timeout, watch.next()).await else {
            return Ok(());
        };
        made?;
        // What is refused is ended by the first answer or by the one right after it.
        let refused = tokio::time::timeout(REFUSED_WITHIN, watch.next()).await;
        refused.map_or(Ok(()), |next| next.map(drop))
    }

    async fn watch_key(&self, first: Revision) -> Result<Watch, AgentError> {
        self.watch(first, false).await
    }

    async fn watch(&self, first: Revision, all: bool) -> Result<Watch, AgentError> {
        let limit = self.connection.access().max_decoding;
        let opening = Opening {
            endpoint: &self.endpoint,
            timeout: self.timeout,
            limit,
        };
        opening.open(self.client.watch_client(), first, all).await
    }

    /// After a refused login: the password may be another one now.
    async fn log_in_again(&self) {
        let Ok(login) = self.connection.access().login().await else {
            return;
        };
        let mut client = self.client.clone();
        match tokio::time::timeout(self.timeout, client.update_user(login)).await {
            Ok(Ok(())) => tracing::info!(endpoint = self.endpoint, "logged in again"),
            Ok(Err(error)) => tracing::debug!(%error, "not logged in again"),
            Err(_) => {}
        }
    }

    pub(super) async fn ask<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, AgentError> {
        self.ask_within(self.timeout, operation, answer).await
    }

    pub(super) async fn ask_within<T>(
        &self,
        patience: Duration,
        operation: &'static str,
        answer: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, AgentError> {
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => {
                if denied::is_login(&source) {
                    Box::pin(self.log_in_again()).await;
                }
                let user = self.connection.access().user;
                let denied = denied::judge(&self.endpoint, operation, user.as_ref(), &source);
                Err(denied.unwrap_or_else(|| AgentError::Source {
                    endpoint: self.endpoint.clone(),
                    operation,
                    source: Box::new(source),
                }))
            }
            Err(_) => Err(AgentError::Connect {
                endpoint: self.endpoint.clone(),
                reason: format!(
                    "no answer to {operation} within {}",
                    humantime::format_duration(patience)
                ),
            }),
        }
    }
}

/// Whether etcd refused because the revision is yet to come (etcd, `api/v3rpc/rpctypes/error.go`).
fn is_later(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("required revision is a future revision"))
}

/// Whether etcd refused because the revision is compacted: `OutOfRange`, as is a revision in the future, so the text
/// decides (etcd, `api/v3rpc/rpctypes/error.go`).
fn is_compacted(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("required revision has been compacted"))
}
