//! The service Lock (etcd, `server/etcdserver/api/v3lock`, `client/v3/concurrency/mutex.go`).

use std::sync::Arc;

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::range_request::SortOrder;
use revkeep_schemas::etcd_api::etcdserverpb::{ResponseHeader, TxnRequest};
use revkeep_schemas::etcd_api::v3lockpb::lock_server::Lock;
use revkeep_schemas::etcd_api::v3lockpb::{
    LockRequest, LockResponse, UnlockRequest, UnlockResponse,
};
use tonic::{Request, Response, Status};

use crate::error::{Result as StoreResult, StoreError};
use crate::rpc::engine::Engine;
use crate::rpc::session::{
    Session, as_unknown, created_at, get, key_of, one, one_by_creation, prefix_of, put, read_by,
};

/// The service Lock.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct LockService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let session = Session::of(&self.engine, &request);
        let locked = lock(session, request.into_inner()).await;
        let response = locked.map_err(as_unknown)?;
        Ok(Response::new(response))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let session = Session::of(&self.engine, &request);
        let deleted = session.delete(request.into_inner().key).await;
        let deleted = deleted.map_err(as_unknown)?;
        Ok(Response::new(UnlockResponse {
            header: deleted.header,
        }))
    }
}

async fn lock(session: Session, request: LockRequest) -> StoreResult<LockResponse> {
    let lease = session.lease(request.lease).await?;
    let prefix = prefix_of(&request.name);
    let key = key_of(&prefix, lease);
    let holder = get(one_by_creation(&prefix, SortOrder::Ascend));
    let entered = session
        .txn(TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![put(key.clone(), Bytes::new(), lease), holder.clone()],
            failure: vec![get(one(key.clone())), holder],
        })
        .await?;
    let revision = entered.header.map_or(0, |header| header.revision);
    let own = if entered.succeeded {
        revision
    } else {
        read_by(&entered, 0).map_or(revision, |kv| kv.create_revision)
    };
    let held = |header: Option<ResponseHeader>, key: &Bytes| LockResponse {
        header,
        key: key.clone(),
    };
    if read_by(&entered, 1).is_none_or(|holder| holder.create_revision == own) {
        return Ok(held(entered.header, &key));
    }

    let mut place = Place {
        waiting: Some((session, key.clone())),
    };
    let Some((session, _)) = &place.waiting else {
        return Err(StoreError::Stopped);
    };
    session.wait_for_elders(&prefix, own - 1).await?;
    // The lease may have ended meanwhile.
    let found = session.get(one(key.clone())).await?;
    place.waiting = None;
    if found.kvs.is_empty() {
        return Err(StoreError::internal("mutex: session is expired"));
    }
    Ok(held(found.header, &key))
}

/// A place in the queue. Given up if the client goes away or something fails before the lock is held.
struct Place {
    waiting: Option<(Session, Bytes)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((session, key)) = self.waiting.take() {
            tokio::spawn(async move {
                // If that fails the lease ends it.
                let _ = session.delete(key).await;
            });
        }
    }
}
