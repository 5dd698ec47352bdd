//! The care of one member.

use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use revkeep_schemas::store_api::proposal::Command;

use super::core::mismatch;
use super::{Caller, Engine};
use crate::apply::Response;
use crate::auth::AuthInfo;
use crate::error::{Result, StoreError};
use crate::server::API_VERSION;

impl Engine {
    /// Lists, raises or clears alarms.
    pub async fn alarm(
        &self,
        caller: Caller,
        request: api::AlarmRequest,
    ) -> Result<api::AlarmResponse> {
        match request.action() {
            AlarmAction::Get => self.shared.auth.check_any(caller.as_ref())?,
            _ => self.check_admin(caller.as_ref())?,
        }
        match self.propose(Command::Alarm(request), caller).await? {
            Response::Alarm(mut response) => {
                self.fill(&mut response.header);
                Ok(response)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Describes this member.
    pub fn status(&self, caller: Option<&AuthInfo>) -> Result<api::StatusResponse> {
        let shared = &self.shared;
        shared.auth.check_any(caller)?;
        let raft = self.raft.status();
        let leader = raft.leader.unwrap_or_default();
        let no_leader = (leader == 0).then(|| StoreError::NoLeader.message());
        let alarms = shared.alarms.list(api::AlarmType::None);
        let alarms = alarms.iter().map(|alarm| {
            // As Go prints the message.
            format!(
                "memberID:{} alarm:{} ",
                alarm.member_id,
                alarm.alarm().as_str_name()
            )
        });
        Ok(api::StatusResponse {
            header: Some(self.header()),
            version: API_VERSION.to_owned(),
            db_size: bytes(shared.backend.size_bytes()),
            db_size_in_use: bytes(shared.backend.size_in_use_bytes()),
            leader,
            // After a start the log is read as far as it was agreed on before anybody says so anew.
            raft_index: raft.committed.max(raft.applied),
            raft_term: raft.term,
            raft_applied_index: raft.applied,
            errors: no_leader.into_iter().chain(alarms).collect(),
            is_learner: self.is_learner(),
            ..api::StatusResponse::default()
        })
    }

    /// Rewrites the database without its free pages.
    pub async fn defragment(&self) -> Result<api::DefragmentResponse> {
        tracing::info!("starting defragment");
        let backend = Arc::clone(&self.shared.backend);
        let work = move || backend.defragment();
        self.options.executor.run(work).await??;
        tracing::info!("finished defragment");
        Ok(api::DefragmentResponse::default())
    }

    /// Hashes the whole database.
    pub async fn hash(&self) -> Result<api::HashResponse> {
        let mvcc = Arc::clone(&self.shared.mvcc);
        let answer = self.options.executor.run(move || mvcc.hash()).await??;
        let mut response = api::HashResponse {
            header: Some(api::ResponseHeader {
                revision: answer.current,
                ..api::ResponseHeader::default()
            }),
            hash: answer.hash,
        };
        self.fill(&mut response.header);
        Ok(response)
    }

    /// Hashes the keys at a revision. The hash's own revision is a field of etcd 3.6; 3.5 leaves it out.
    pub async fn hash_kv(&self, request: api::HashKvRequest) -> Result<api::HashKvResponse> {
        let mvcc = Arc::clone(&self.shared.mvcc);
        let work = move || mvcc.hash_kv(request.revision);
        let answer = self.options.executor.run(work).await??;
        let mut response = api::HashKvResponse {
            header: Some(api::ResponseHeader {
                revision: answer.current,
                ..api::ResponseHeader::default()
            }),
            hash: answer.hash,
            compact_revision: answer.compact_revision,
            hash_revision: 0,
        };
        self.fill(&mut response.header);
        Ok(response)
    }

    /// Hands leadership to another member; only the leader can.
    pub async fn move_leader(
        &self,
        caller: Caller,
        request: api::MoveLeaderRequest,
    ) -> Result<api::MoveLeaderResponse> {
        self.check_admin(caller.as_ref())?;
        if !self.leadership().is_leader() {
            return Err(StoreError::NotLeader);
        }
        match self.shared.members.get(request.target_id) {
            Some(member) if !member.is_learner => {}
            _ => return Err(StoreError::BadLeaderTransferee),
        }
        self.raft.transfer_leader(request.target_id).await?;
        Ok(api::MoveLeaderResponse::default())
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
