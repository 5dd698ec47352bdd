//! What a member answers to the others.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use openraft::{
    Snapshot, SnapshotMeta,
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};
use revkeep_schemas::store_api::{
    self as api, append_response::Outcome, peer_server::Peer, reconfigure_request::Change as Wanted,
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::{PROTOCOL, call, errors::removed, receive};
use crate::{
    StoreError,
    raft::{
        SnapshotFile, campaign,
        core::Core,
        membership::{self, Change},
        proposer::{self, Item},
        transfer,
        types::{SnapshotData, log_id, position_or_origin},
        wire::{self, Applied},
    },
};

#[cfg(test)]
mod tests;

/// What a member answers to the others, on the peer port.
pub struct PeerService<O: Send + 'static> {
    core: Arc<Core<O>>,
    scratch: PathBuf,
}

impl<O: Send + 'static> std::fmt::Debug for PeerService<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerService").finish_non_exhaustive()
    }
}

impl<O: Send + 'static> PeerService<O> {
    pub(in crate::raft) fn new(core: Arc<Core<O>>) -> Self {
        let scratch = core.config.scratch.clone();
        Self { core, scratch }
    }

    /// Who calls, if this member is meant.
    fn caller(&self, route: Option<&api::Route>) -> Result<u64, Status> {
        let config = &self.core.config;
        if self.core.stopper.is_stopped() {
            return Err(StoreError::Stopped.into());
        }
        let from = call::check(route, config.cluster_id, config.member_id)?;
        let was_removed = self.core.members.borrow().removed.contains(&from);
        if was_removed || self.core.machine.is_removed(from) {
            return Err(removed());
        }
        Ok(from)
    }

    /// Whether this member would vote for one whose log ends there.
    fn would_vote(&self, last: Option<&api::LogPosition>) -> bool {
        let last = last.map(wire::at).unwrap_or_default();
        let own = self.core.marks.last_position();
        !self.has_leader() && (last.term, last.index) >= (own.term, own.index)
    }

    /// Whether a leader is at work, as far as this member knows.
    fn has_leader(&self) -> bool {
        let election = self.core.config.election;
        self.core.leads() || self.core.contact.leader_within(election).is_some()
    }

    fn ballot(&self) -> api::Ballot {
        let metrics = self.core.raft.server_metrics();
        let vote = metrics.borrow().vote;
        wire::ballot(&vote)
    }
}

fn stopped<E>(_: E) -> Status {
    StoreError::Stopped.into()
}

#[async_trait]
impl<O: Send + 'static> Peer for PeerService<O> {
    async fn append(
        &self,
        request: Request<api::AppendRequest>,
    ) -> Result<Response<api::AppendResponse>, Status> {
        let request = request.into_inner();
        let from = self.caller(request.route.as_ref())?;
        let entries = request.entries.into_iter().map(wire::entry);
        let entries = entries
            .collect::<crate::Result<Vec<_>>>()
            .map_err(Status::from)?;
        let append = AppendEntriesRequest {
            vote: wire::vote(request.ballot.as_ref()),
            prev_log_id: wire::id_at(request.previous.as_ref()),
            entries,
            leader_commit: wire::id_at(request.committed.as_ref()),
        };
        let answer = self.core.raft.append_entries(append).await;
        let outcome = match answer.map_err(stopped)? {
            AppendEntriesResponse::HigherVote(newer) => Outcome::Newer(wire::ballot(&newer)),
            answer => {
                self.core.contact.hear(from);
                match answer {
                    AppendEntriesResponse::PartialSuccess(upto) => Outcome::Partial(api::Partial {
                        at: wire::place_of(upto.as_ref()),
                    }),
                    AppendEntriesResponse::Conflict => Outcome::Conflict(api::Empty {}),
                    _ => Outcome::Accepted(api::Empty {}),
                }
            }
        };
        Ok(Response::new(api::AppendResponse {
            outcome: Some(outcome),
        }))
    }

    async fn vote(
        &self,
        request: Request<api::VoteRequest>,
    ) -> Result<Response<api::VoteResponse>, Status> {
        let request = request.into_inner();
        self.caller(request.route.as_ref())?;
        let vote = wire::vote(request.ballot.as_ref());
        if request.trial || (self.has_leader() && !request.transfer) {
            let own = self.core.marks.last_position();
            return Ok(Response::new(api::VoteResponse {
                ballot: Some(self.ballot()),
                last: log_id(own).and(Some(wire::place(own))),
                granted: request.trial && self.would_vote(request.last.as_ref()),
            }));
        }
        if request.transfer {
            campaign::release(&self.core, &vote).await;
        }
        let ask = openraft::raft::VoteRequest {
            vote,
            last_log_id: wire::id_at(request.last.as_ref()),
        };
        let answer = self.core.raft.vote(ask).await.map_err(stopped)?;
        if answer.vote_granted {
            // Whoever got it has its time to win.
            self.core.contact.calm();
        }
        Ok(Response::new(api::VoteResponse {
            ballot: Some(wire::ballot(&answer.vote)),
            last: wire::place_of(answer.last_log_id.as_ref()),
            granted: answer.vote_granted,
        }))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<api::SnapshotChunk>>,
    ) -> Result<Response<api::SnapshotResponse>, Status> {
        let mut chunks = request.into_inner();
        let header = receive::header(&mut chunks).await?;
        let from = self.caller(header.route.as_ref())?;
        let vote = wire::vote(header.ballot.as_ref());
        let own = self.core.raft.server_metrics().borrow().vote;
        if own > vote {
            return Ok(Response::new(api::SnapshotResponse {
                ballot: Some(wire::ballot(&own)),
            }));
        }
        let at = header.at.as_ref().map(wire::at).unwrap_or_default();
        tracing::info!(position = %at, "receiving a snapshot from the leader");
        let raft_bytes = Some(header.membership);
        let applied = Applied::decode(raft_bytes.as_ref())?;
        let executor = self.core.executor;
        let contact = &self.core.contact;
        let path = receive::file(&mut chunks, &self.scratch, executor, || contact.hear(from));
        let file = SnapshotFile {
            position: at,
            raft_bytes,
            path: path.await?,
        };
        let snapshot = Snapshot {
            meta: SnapshotMeta {
                last_log_id: log_id(at),
                last_membership: applied.stored,
                snapshot_id: at.to_string(),
            },
            snapshot: Box::new(SnapshotData::Received(file)),
        };
        let installed = self.core.raft.install_full_snapshot(vote, snapshot).await;
        Ok(Response::new(api::SnapshotResponse {
            ballot: Some(wire::ballot(&installed.map_err(stopped)?.vote)),
        }))
    }

    async fn propose(
        &self,
        request: Request<api::ProposeRequest>,
    ) -> Result<Response<api::ProposeResponse>, Status> {
        let request = request.into_inner();
        self.caller(request.route.as_ref())?;
        if !self.core.leads() || self.core.is_handing_over() {
            return Ok(Response::new(api::ProposeResponse { accepted: false }));
        }
        let (taken, answer) = oneshot::channel();
        let item = Item {
            batch: wire::kept(request.batch),
            from: proposer::From::Peer(taken),
        };
        let accepted = match self.core.enqueue(item) {
            Ok(()) => answer.await.map_err(stopped)?,
            // It offers them again in a moment.
            Err(StoreError::TooManyRequests) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Response::new(api::ProposeResponse { accepted }))
    }

    async fn read_index(
        &self,
        request: Request<api::ReadIndexRequest>,
    ) -> Result<Response<api::ReadIndexResponse>, Status> {
        self.caller(request.into_inner().route.as_ref())?;
        let index = self.core.ask_read_index(true).await.ok();
        Ok(Response::new(api::ReadIndexResponse { index }))
    }

    async fn take_lead(
        &self,
        request: Request<api::TakeLeadRequest>,
    ) -> Result<Response<api::TakeLeadResponse>, Status> {
        let request = request.into_inner();
        self.caller(request.route.as_ref())?;
        transfer::take_lead(&self.core, request.term).await?;
        Ok(Response::new(api::TakeLeadResponse {}))
    }

    async fn reconfigure(
        &self,
        request: Request<api::ReconfigureRequest>,
    ) -> Result<Response<api::ReconfigureResponse>, Status> {
        let request = request.into_inner();
        self.caller(request.route.as_ref())?;
        let change = match request.change {
            Some(Wanted::Add(member)) => Change::Add(member),
            Some(Wanted::Promote(id)) => Change::Promote(id),
            Some(Wanted::Remove(id)) => Change::Remove(id),
            Some(Wanted::Update(member)) => Change::Update(member),
            None => {
                return Err(Status::invalid_argument(
                    "a change of the members is missing",
                ));
            }
        };
        // Its own task: who asks may go away, the change should not stop halfway.
        let core = Arc::clone(&self.core);
        let changing = tokio::spawn(async move { membership::change(&core, change).await });
        let members = changing.await.map_err(stopped)??;
        Ok(Response::new(api::ReconfigureResponse { members }))
    }

    async fn renew_lease(
        &self,
        request: Request<api::RenewLeaseRequest>,
    ) -> Result<Response<api::RenewLeaseResponse>, Status> {
        let request = request.into_inner();
        self.caller(request.route.as_ref())?;
        let duties = self.core.duties.get().ok_or(StoreError::NotPrimary)?;
        self.core.have_applied().await?;
        let ttl = duties.renew_lease(request.id).await?;
        Ok(Response::new(api::RenewLeaseResponse { ttl }))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<api::LeaseTimeToLiveCall>,
    ) -> Result<Response<api::LeaseTimeToLiveAnswer>, Status> {
        let request = request.into_inner();
        self.caller(request.route.as_ref())?;
        let duties = self.core.duties.get().ok_or(StoreError::NotPrimary)?;
        self.core.have_applied().await?;
        let wanted = request.request.unwrap_or_default();
        let response = duties.lease_time_to_live(wanted).await?;
        Ok(Response::new(api::LeaseTimeToLiveAnswer {
            response: Some(response),
        }))
    }

    async fn members(
        &self,
        _request: Request<api::MembersRequest>,
    ) -> Result<Response<api::MembersResponse>, Status> {
        let applied = Arc::clone(&self.core.members.borrow());
        if position_or_origin(applied.stored.log_id().as_ref()).index == 0 {
            return Err(Status::unavailable(
                "this member does not know the others yet",
            ));
        }
        Ok(Response::new(api::MembersResponse {
            cluster_id: self.core.config.cluster_id,
            member_id: self.core.config.member_id,
            members: wire::members(applied.stored.membership()),
            version: PROTOCOL,
        }))
    }
}
