//! One of the two servers.

use crate::operation::Operation;
use crate::watches::Watches;
use anyhow::{Context, Result, bail};
use revkeep_schemas::etcd_api::etcdserverpb::kv_client::KvClient;
use revkeep_schemas::etcd_api::etcdserverpb::lease_client::LeaseClient;
use revkeep_schemas::etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use revkeep_schemas::etcd_api::etcdserverpb::*;
use std::fmt::Debug;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// What a server said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// All of it, but for ids of cluster and member and the Raft term.
    pub(crate) text: String,
    /// The revision of its header.
    pub(crate) revision: Option<i64>,
    /// The compact revision of a hash.
    pub(crate) compact_revision: Option<i64>,
}

/// A connection, and the watches that were opened on it.
#[derive(Debug)]
pub(crate) struct Side {
    channel: Channel,
    watches: Watches,
}

/// An answer with a header.
trait Answer: Debug {
    fn header(&mut self) -> Option<&mut ResponseHeader>;
}

macro_rules! answers {
    ($($type:ty),* $(,)?) => {$(
        impl Answer for $type {
            fn header(&mut self) -> Option<&mut ResponseHeader> {
                self.header.as_mut()
            }
        }
    )*};
}
answers!(
    PutResponse,
    RangeResponse,
    DeleteRangeResponse,
    TxnResponse,
    CompactionResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
    LeaseKeepAliveResponse,
    LeaseTimeToLiveResponse,
    LeaseLeasesResponse,
    HashKvResponse,
);

impl Told {
    fn of<T: Answer>(outcome: Result<Response<T>, Status>) -> Self {
        Self::settled(outcome.map(Response::into_inner))
    }

    fn settled<T: Answer>(outcome: Result<T, Status>) -> Self {
        match outcome {
            Ok(mut answer) => {
                let revision = answer.header().map(|header| {
                    *header = ResponseHeader {
                        revision: header.revision,
                        ..ResponseHeader::default()
                    };
                    header.revision
                });
                Self {
                    text: format!("{answer:?}"),
                    revision,
                    compact_revision: None,
                }
            }
            Err(status) => Self {
                text: format!("{:?}: {}", status.code(), status.message()),
                ..Self::default()
            },
        }
    }
}

impl Side {
    /// Connects.
    pub(crate) async fn connect(endpoint: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect()
            .await?;
        Ok(Self {
            watches: Watches::new(channel.clone()),
            channel,
        })
    }

    /// Does an operation. An error means that nobody answered.
    pub(crate) async fn answer(&mut self, operation: &Operation) -> Result<Told> {
        let limit = Duration::from_secs(60);
        let answer = tokio::time::timeout(limit, self.ask(operation)).await;
        answer.with_context(|| format!("no answer to {operation:?}"))?
    }

    async fn ask(&mut self, operation: &Operation) -> Result<Told> {
        let mut kv = KvClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let mut lease = LeaseClient::new(self.channel.clone());
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        Ok(match operation.clone() {
            Operation::Put(ask) => Told::of(kv.put(ask).await),
            Operation::Range(ask) => Told::of(kv.range(ask).await),
            Operation::Delete(ask) => Told::of(kv.delete_range(ask).await),
            Operation::Txn(ask) => Told::of(kv.txn(ask).await),
            Operation::Compact(ask) => Told::of(kv.compact(ask).await),
            Operation::Grant(ask) => Told::of(lease.lease_grant(ask).await),
            Operation::Revoke(id) => Told::of(lease.lease_revoke(LeaseRevokeRequest { id }).await),
            Operation::KeepAlive(id) => {
                let asks = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
                let mut answers = lease.lease_keep_alive(asks).await?.into_inner();
                let answer = answers.message().await?.context("the stream ended")?;
                Told::settled(Ok(answer))
            }
            Operation::Describe(id) => Told::settled(self.describe(id).await),
            Operation::Leases => {
                let answer = lease.lease_leases(LeaseLeasesRequest {}).await;
                Told::settled(answer.map(|answer| {
                    let mut answer = answer.into_inner();
                    // They come by the end of their time, which no two servers share.
                    answer.leases.sort_by_key(|lease| lease.id);
                    answer
                }))
            }
            Operation::Expire(id) => self.expired(id).await?,
            Operation::HashKv(revision) => {
                let answer = maintenance.hash_kv(HashKvRequest { revision }).await;
                let compact_revision = answer
                    .as_ref()
                    .ok()
                    .map(|told| told.get_ref().compact_revision);
                Told {
                    compact_revision,
                    ..Told::of(answer.map(|mut told| {
                        // Only 3.6 and newer tell it.
                        told.get_mut().hash_revision = 0;
                        told
                    }))
                }
            }
            Operation::Watch(number, ask) => Told {
                text: self.watches.open(number, ask).await?,
                ..Told::default()
            },
            Operation::Cancel(number) => {
                self.watches.close(number);
                Told::default()
            }
            Operation::Catch(revision) => Told {
                text: self.watches.catch_up(revision).await?,
                ..Told::default()
            },
        })
    }

    /// A lease without what depends on the clock.
    async fn describe(&self, id: i64) -> Result<LeaseTimeToLiveResponse, Status> {
        let mut lease = LeaseClient::new(self.channel.clone());
        let ask = LeaseTimeToLiveRequest { id, keys: true };
        let mut answer = lease.lease_time_to_live(ask).await?.into_inner();
        answer.ttl = answer.ttl.min(1);
        // etcd lists them in the order of a hash map.
        answer.keys.sort();
        Ok(answer)
    }

    async fn expired(&self, id: i64) -> Result<Told> {
        for _ in 0..600 {
            let answer = self.describe(id).await?;
            if answer.granted_ttl == 0 {
                return Ok(Told::settled(Ok(answer)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the lease {id} does not end")
    }
}
