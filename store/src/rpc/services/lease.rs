//! The service Lease.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::lease_server::Lease;
use tonic::{Request, Response, Status, Streaming};

use super::unary;
use crate::rpc::engine::Engine;
use crate::rpc::grpc::rephrase;
use crate::rpc::identity::Credentials;
use crate::rpc::leaderless::Leaderless;

/// The service Lease.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct LeaseService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

type Renewals = Pin<Box<dyn Stream<Item = Result<api::LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for LeaseService {
    type LeaseKeepAliveStream = Renewals;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<api::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Renewals>, Status> {
        let credentials = Credentials::of(&request);
        let leaderless = Leaderless::of(&self.engine, &request);
        let state = KeepAlive {
            engine: Arc::clone(&self.engine),
            credentials,
            requests: request.into_inner(),
            leaderless,
            failed: false,
        };
        let renewals = stream::unfold(state, async |mut state| {
            let answer = state.next().await?;
            Some((answer, state))
        });
        Ok(Response::new(Box::pin(renewals)))
    }

    async fn lease_leases(
        &self,
        request: Request<api::LeaseLeasesRequest>,
    ) -> Result<Response<api::LeaseLeasesResponse>, Status> {
        let caller = self.engine.caller(&request).await?;
        Ok(Response::new(self.engine.lease_leases(caller.as_ref())?))
    }

    unary! {
        lease_grant(api::LeaseGrantRequest) -> api::LeaseGrantResponse = |engine, caller, message| engine.lease_grant(caller, message).await;
        lease_revoke(api::LeaseRevokeRequest) -> api::LeaseRevokeResponse = |engine, caller, message| engine.lease_revoke(caller, message).await;
        lease_time_to_live(api::LeaseTimeToLiveRequest) -> api::LeaseTimeToLiveResponse = |engine, caller, message| engine.lease_time_to_live(caller, message).await;
    }
}

/// One stream of renewals: each request is answered before the next is read.
struct KeepAlive {
    engine: Arc<Engine>,
    credentials: Credentials,
    requests: Streaming<api::LeaseKeepAliveRequest>,
    leaderless: Leaderless,
    failed: bool,
}

impl KeepAlive {
    async fn next(&mut self) -> Option<Result<api::LeaseKeepAliveResponse, Status>> {
        if self.failed {
            return None;
        }
        let answer = tokio::select! {
            biased;
            status = self.leaderless.ended() => Err(status),
            request = self.requests.message() => match request {
                Ok(None) => return None,
                Err(status) => Err(rephrase(status)),
                Ok(Some(request)) => self.renew(request.id).await.map_err(Status::from),
            }
        };
        self.failed = answer.is_err();
        Some(answer)
    }

    async fn renew(&self, id: i64) -> crate::error::Result<api::LeaseKeepAliveResponse> {
        let caller = self.engine.caller_of(&self.credentials).await?;
        self.engine.lease_renew(caller.as_ref(), id).await
    }
}
