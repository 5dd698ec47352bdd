//! The service Maintenance.

use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::maintenance_server::Maintenance;
use tonic::{Code, Request, Response, Status};

use super::unary;
use crate::error::StoreError;
use crate::rpc::engine::{Caller, Engine};
use crate::rpc::snapshot::{Pieces, pieces};

/// The service Maintenance.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct MaintenanceService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

impl MaintenanceService {
    /// Whether the caller is an administrator. For the functions that ask so, etcd 3.5 sends its inner error as it is,
    /// without a code (etcd, `server/etcdserver/api/v3rpc/maintenance.go`, `authMaintenanceServer`).
    async fn admin<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = self.engine.caller(request).await;
        caller
            .and_then(|caller| self.engine.check_admin(caller.as_ref()).map(|()| caller))
            .map_err(|error| {
                let text = match error {
                    // The one whose inner text is another.
                    StoreError::AuthOldRevision => "auth: revision in header is old".to_owned(),
                    other => other.message().replacen("etcdserver:", "auth:", 1),
                };
                Status::new(Code::Unknown, text)
            })
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    type SnapshotStream = Pieces;

    async fn snapshot(
        &self,
        request: Request<api::SnapshotRequest>,
    ) -> Result<Response<Pieces>, Status> {
        self.admin(&request).await?;
        Ok(Response::new(pieces(&self.engine).await?))
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        let caller = self.engine.caller(&request).await?;
        Ok(Response::new(self.engine.status(caller.as_ref())?))
    }

    async fn defragment(
        &self,
        request: Request<api::DefragmentRequest>,
    ) -> Result<Response<api::DefragmentResponse>, Status> {
        self.admin(&request).await?;
        Ok(Response::new(self.engine.defragment().await?))
    }

    async fn hash(
        &self,
        request: Request<api::HashRequest>,
    ) -> Result<Response<api::HashResponse>, Status> {
        self.admin(&request).await?;
        Ok(Response::new(self.engine.hash().await?))
    }

    async fn hash_kv(
        &self,
        request: Request<api::HashKvRequest>,
    ) -> Result<Response<api::HashKvResponse>, Status> {
        self.admin(&request).await?;
        Ok(Response::new(
            self.engine.hash_kv(request.into_inner()).await?,
        ))
    }

    unary! {
        alarm(api::AlarmRequest) -> api::AlarmResponse = |engine, caller, message| engine.alarm(caller, message).await;
        move_leader(api::MoveLeaderRequest) -> api::MoveLeaderResponse = |engine, caller, message| engine.move_leader(caller, message).await;
        downgrade(api::DowngradeRequest) -> api::DowngradeResponse = |engine, caller, message| engine.downgrade(caller, message).await;
    }
}
