//! The service Cluster.

use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::unary;
use crate::rpc::engine::Engine;

/// The service Cluster.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct ClusterService {
    pub(in crate::rpc) engine: Arc<Engine>,
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    unary! {
        member_add(api::MemberAddRequest) -> api::MemberAddResponse = |engine, caller, message| engine.member_add(caller, message).await;
        member_remove(api::MemberRemoveRequest) -> api::MemberRemoveResponse = |engine, caller, message| engine.member_remove(caller, message).await;
        member_update(api::MemberUpdateRequest) -> api::MemberUpdateResponse = |engine, caller, message| engine.member_update(caller, message).await;
        member_list(api::MemberListRequest) -> api::MemberListResponse = |engine, caller, message| engine.member_list(caller, message).await;
        member_promote(api::MemberPromoteRequest) -> api::MemberPromoteResponse = |engine, caller, message| engine.member_promote(caller, message).await;
    }
}
