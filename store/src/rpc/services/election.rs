//! The service Election (etcd, `server/etcdserver/api/v3election`, `client/v3/concurrency/election.go`).

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use revkeep_schemas::etcd_api::etcdserverpb::range_request::SortOrder;
use revkeep_schemas::etcd_api::etcdserverpb::{ResponseHeader, TxnRequest};
use revkeep_schemas::etcd_api::mvccpb::event::EventType;
use revkeep_schemas::etcd_api::v3electionpb::election_server::Election;
use revkeep_schemas::etcd_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::error::{Result as StoreResult, StoreError};
use crate::rpc::engine::Engine;
use crate::rpc::session::{
    Session, as_unknown, created_at, delete, end_of, get, key_of, one, one_by_creation, prefix_of,
    put, read_by,
};

/// The service Election.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct ElectionService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

type Leaders = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

fn not_leader() -> StoreError {
    StoreError::internal("election: not leader")
}

fn no_leader() -> StoreError {
    StoreError::internal("election: no leader")
}

fn proof(leader: Option<LeaderKey>) -> StoreResult<LeaderKey> {
    leader.ok_or_else(|| StoreError::internal("\"leader\" field must be provided"))
}

#[tonic::async_trait]
impl Election for ElectionService {
    type ObserveStream = Leaders;

    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let session = Session::of(&self.engine, &request);
        let won = campaign(session, request.into_inner()).await;
        Ok(Response::new(won.map_err(as_unknown)?))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let session = Session::of(&self.engine, &request);
        let request = request.into_inner();
        let leader = proof(request.leader).map_err(as_unknown)?;
        let said = proclaim(&session, &leader, request.value).await;
        let header = said.map_err(as_unknown)?;
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let session = Session::of(&self.engine, &request);
        let prefix = prefix_of(&request.into_inner().name);
        let found = session
            .get(one_by_creation(&prefix, SortOrder::Ascend))
            .await
            .map_err(as_unknown)?;
        let kv = found.kvs.into_iter().next().ok_or_else(no_leader)?;
        Ok(Response::new(LeaderResponse {
            header: found.header,
            kv: Some(kv),
        }))
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Leaders>, Status> {
        let session = Session::of(&self.engine, &request);
        let prefix = prefix_of(&request.into_inner().name);
        let (leaders, seen) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                // The client has gone.
                () = leaders.closed() => {}
                ended = observe(&session, &prefix, &leaders) => {
                    if let Err(error) = ended {
                        let _ = leaders.send(Err(as_unknown(error))).await;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(seen))))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let session = Session::of(&self.engine, &request);
        let leader = proof(request.into_inner().leader).map_err(as_unknown)?;
        let resigned = resign(&session, &leader).await;
        let header = resigned.map_err(as_unknown)?;
        Ok(Response::new(ResignResponse { header }))
    }
}

async fn campaign(session: Session, request: CampaignRequest) -> StoreResult<CampaignResponse> {
    let lease = session.lease(request.lease).await?;
    let prefix = prefix_of(&request.name);
    let key = key_of(&prefix, lease);
    let entered = session
        .txn(TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![put(key.clone(), request.value.clone(), lease)],
            failure: vec![get(one(key.clone()))],
        })
        .await?;
    let mut leader = LeaderKey {
        name: request.name,
        key,
        rev: entered.header.map_or(0, |header| header.revision),
        lease,
    };
    // The session stood already: it keeps its place, with the new value.
    let stood = read_by(&entered, 0).filter(|_| !entered.succeeded);
    if let Some(kv) = &stood {
        leader.rev = kv.create_revision;
    }
    let mut candidacy = Candidacy {
        standing: Some((session, leader.clone())),
    };
    let Some((session, _)) = &candidacy.standing else {
        return Err(not_leader());
    };
    if stood.is_some_and(|kv| kv.value != request.value) {
        proclaim(session, &leader, request.value).await?;
    }
    session.wait_for_elders(&prefix, leader.rev - 1).await?;
    candidacy.standing = None;
    Ok(CampaignResponse {
        header: entered.header,
        leader: Some(leader),
    })
}

/// A candidacy. Given up if the client goes away before it has won.
struct Candidacy {
    standing: Option<(Session, LeaderKey)>,
}

impl Drop for Candidacy {
    fn drop(&mut self) {
        if let Some((session, leader)) = self.standing.take() {
            tokio::spawn(async move {
                // If that fails the lease ends it.
                let _ = resign(&session, &leader).await;
            });
        }
    }
}

async fn proclaim(
    session: &Session,
    leader: &LeaderKey,
    value: Bytes,
) -> StoreResult<Option<ResponseHeader>> {
    let said = session
        .txn(TxnRequest {
            compare: vec![created_at(&leader.key, leader.rev)],
            success: vec![put(leader.key.clone(), value, leader.lease)],
            failure: vec![],
        })
        .await?;
    if said.succeeded {
        Ok(said.header)
    } else {
        Err(not_leader())
    }
}

async fn resign(session: &Session, leader: &LeaderKey) -> StoreResult<Option<ResponseHeader>> {
    let left = session
        .txn(TxnRequest {
            compare: vec![created_at(&leader.key, leader.rev)],
            success: vec![delete(leader.key.clone())],
            failure: vec![],
        })
        .await?;
    Ok(left.header)
}

/// Sends who leads, now and after every change, for as long as there is a client.
async fn observe(
    session: &Session,
    prefix: &Bytes,
    leaders: &mpsc::Sender<Result<LeaderResponse, Status>>,
) -> StoreResult<()> {
    loop {
        let found = session
            .get(one_by_creation(prefix, SortOrder::Ascend))
            .await?;
        let mut header = found.header;
        let kv = if let Some(kv) = found.kvs.into_iter().next() {
            kv
        } else {
            let from = header.map_or(0, |header| header.revision);
            let mut events = session.watch(prefix.clone(), end_of(prefix), from).await;
            loop {
                let event = events.next().await?;
                if let (EventType::Put, Some(kv)) = (event.r#type(), event.kv) {
                    break kv;
                }
            }
        };
        if let Some(header) = &mut header {
            header.revision = header.revision.max(kv.mod_revision);
        }
        let from = header.map_or(0, |header| header.revision) + 1;
        let mut events = session.watch(kv.key.clone(), Bytes::new(), from).await;
        let mut kv = Some(kv);
        loop {
            let response = LeaderResponse { header, kv };
            if leaders.send(Ok(response)).await.is_err() {
                return Ok(());
            }
            let event = events.next().await?;
            if event.r#type() == EventType::Delete {
                break;
            }
            if let (Some(header), Some(kv)) = (&mut header, &event.kv) {
                header.revision = kv.mod_revision;
            }
            kv = event.kv;
        }
    }
}
