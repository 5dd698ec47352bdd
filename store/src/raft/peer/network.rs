//! The consensus library's way to the other members.

use std::{future::Future, sync::Arc, time::Duration};

use openraft::{
    Snapshot,
    error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use revkeep_schemas::store_api::{self as api, append_response::Outcome};
use tokio::time::timeout;
use tonic::Status;

use super::{Link, Links, errors::is_removed, send};
use crate::{
    executor::Executor,
    raft::{
        PeerNode, StopReason,
        log::Synced,
        stop::Stopper,
        types::{Types, Vote, position_or_origin},
        wire,
    },
};

/// How long replication waits before it tries an unreachable member again.
const BACKOFF: Duration = Duration::from_millis(100);

/// Makes the library's links.
#[derive(Clone)]
pub(in crate::raft) struct Network {
    pub(in crate::raft) links: Arc<Links>,
    pub(in crate::raft) snapshots: send::MakeSnapshot,
    pub(in crate::raft) synced: Arc<Synced>,
    pub(in crate::raft) stopper: Stopper,
    pub(in crate::raft) executor: Executor,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Target;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Target {
        Target {
            link: self.links.to(target, node),
            network: self.clone(),
        }
    }
}

/// One member, as the library talks to it.
pub(in crate::raft) struct Target {
    link: Arc<Link>,
    network: Network,
}

type Failure = RPCError<u64, PeerNode, RaftError<u64>>;

impl Target {
    fn failed(&self, status: &Status) -> Unreachable {
        if is_removed(status) {
            self.network.stopper.stop(StopReason::Removed);
        }
        tracing::debug!(member = %format_args!("{:x}", self.link.route().to), %status, "a call to a peer failed");
        Unreachable::new(status)
    }

    async fn append(
        &self,
        request: AppendEntriesRequest<Types>,
        limit: Duration,
    ) -> Result<AppendEntriesResponse<u64>, Status> {
        if self.network.links.is_silenced() {
            return Err(Status::unavailable("this leader has lost the majority"));
        }
        // Nobody is told that an entry is agreed on while this member, who was counted in, still writes it.
        let committed = position_or_origin(request.leader_commit.as_ref()).index;
        timeout(limit, self.network.synced.reached(committed))
            .await
            .map_err(|_| Status::unavailable("this leader's disk is slow"))??;
        let message = api::AppendRequest {
            route: Some(self.link.route()),
            ballot: Some(wire::ballot(&request.vote)),
            previous: wire::place_of(request.prev_log_id.as_ref()),
            entries: request.entries.iter().map(wire::log_entry).collect(),
            committed: wire::place_of(request.leader_commit.as_ref()),
        };
        let mut client = self.link.client();
        let response = self.link.call(limit, client.append(message)).await?;
        match response.outcome {
            Some(Outcome::Accepted(_)) => Ok(AppendEntriesResponse::Success),
            Some(Outcome::Partial(partial)) => Ok(AppendEntriesResponse::PartialSuccess(
                wire::id_at(partial.at.as_ref()),
            )),
            Some(Outcome::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
            Some(Outcome::Newer(newer)) => {
                Ok(AppendEntriesResponse::HigherVote(wire::vote(Some(&newer))))
            }
            None => Err(Status::internal("the answer says nothing")),
        }
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<u64>,
        limit: Duration,
    ) -> Result<VoteResponse<u64>, Status> {
        let message = api::VoteRequest {
            route: Some(self.link.route()),
            ballot: Some(wire::ballot(&request.vote)),
            last: wire::place_of(request.last_log_id.as_ref()),
            trial: false,
            transfer: self.network.links.is_transfer(),
        };
        let mut client = self.link.client();
        let response = self.link.call(limit, client.vote(message)).await?;
        Ok(VoteResponse {
            vote: wire::vote(response.ballot.as_ref()),
            vote_granted: response.granted,
            last_log_id: wire::id_at(response.last.as_ref()),
        })
    }
}

impl RaftNetwork<Types> for Target {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure> {
        // A little less than the library's own limit, which would drop the call unseen.
        let limit = option.hard_ttl().mul_f64(0.95);
        let response = self.append(request, limit).await;
        response.map_err(|status| self.failed(&status).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure> {
        let response = self
            .ask_vote(request, option.hard_ttl().mul_f64(0.95))
            .await;
        response.map_err(|status| self.failed(&status).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        _snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let sending = send::snapshot(
            &self.link,
            &self.network.snapshots,
            self.network.executor,
            &vote,
        );
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(status) => Err(StreamingError::Unreachable(self.failed(&status))),
            },
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
