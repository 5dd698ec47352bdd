//! The members of the cluster.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use revkeep_schemas::etcd_api::etcdserverpb as api;
use revkeep_schemas::member::ids::member_id;

use super::{Caller, Engine};
use crate::error::{Result, StoreError};
use crate::raft::PeerMember;
use crate::server::ServerUrl;

impl Engine {
    /// Adds a member, as a voter or a learner.
    pub async fn member_add(
        &self,
        caller: Caller,
        request: api::MemberAddRequest,
    ) -> Result<api::MemberAddResponse> {
        let urls = peer_urls(&request.peer_ur_ls)?;
        self.check_admin(caller.as_ref())?;
        let id = new_member_id(&urls, (self.options.clock)());
        let member = PeerMember {
            id,
            name: String::new(),
            peer_urls: urls.clone(),
            learner: request.is_learner,
        };
        let members = self.raft.add_member(member).await?;
        Ok(api::MemberAddResponse {
            header: Some(self.header_without_revision()),
            member: Some(api::Member {
                id,
                peer_ur_ls: urls,
                is_learner: request.is_learner,
                ..api::Member::default()
            }),
            members: self.described(members),
        })
    }

    /// Removes a member for good.
    pub async fn member_remove(
        &self,
        caller: Caller,
        request: api::MemberRemoveRequest,
    ) -> Result<api::MemberRemoveResponse> {
        self.check_admin(caller.as_ref())?;
        let members = self.raft.remove_member(request.id).await?;
        Ok(api::MemberRemoveResponse {
            header: Some(self.header_without_revision()),
            members: self.described(members),
        })
    }

    /// Changes where a member's peers find it.
    pub async fn member_update(
        &self,
        caller: Caller,
        request: api::MemberUpdateRequest,
    ) -> Result<api::MemberUpdateResponse> {
        self.check_admin(caller.as_ref())?;
        let members = self
            .raft
            .update_member(request.id, request.peer_ur_ls)
            .await?;
        Ok(api::MemberUpdateResponse {
            header: Some(self.header_without_revision()),
            members: self.described(members),
        })
    }

    /// Makes a learner a voter.
    pub async fn member_promote(
        &self,
        caller: Caller,
        request: api::MemberPromoteRequest,
    ) -> Result<api::MemberPromoteResponse> {
        self.check_admin(caller.as_ref())?;
        let members = self.raft.promote_member(request.id).await?;
        Ok(api::MemberPromoteResponse {
            header: Some(self.header_without_revision()),
            members: self.described(members),
        })
    }

    /// Lists the members.
    pub async fn member_list(
        &self,
        caller: Caller,
        request: api::MemberListRequest,
    ) -> Result<api::MemberListResponse> {
        if request.linearizable {
            self.raft.read_index().await?;
        }
        self.shared.auth.check_any(caller.as_ref())?;
        Ok(api::MemberListResponse {
            header: Some(self.header_without_revision()),
            members: self.members(),
        })
    }

    /// The members that a change has left, with what each has told of itself.
    fn described(&self, members: Vec<PeerMember>) -> Vec<api::Member> {
        let describe = |member: PeerMember| {
            let known = self.shared.members.get(member.id).unwrap_or_default();
            api::Member {
                id: member.id,
                name: if known.name.is_empty() {
                    member.name
                } else {
                    known.name
                },
                peer_ur_ls: member.peer_urls,
                client_ur_ls: known.client_urls,
                is_learner: member.learner,
            }
        };
        members.into_iter().map(describe).collect()
    }

    fn members(&self) -> Vec<api::Member> {
        self.shared
            .members
            .list()
            .into_iter()
            .map(Into::into)
            .collect()
    }
}

/// The id of a member that joins later. In place of the cluster's token stands the second at which it is added, so that a
/// member that was removed can come back as another (etcd, `server/etcdserver/api/membership/member.go`).
fn new_member_id(peer_urls: &[String], now: SystemTime) -> u64 {
    let since_epoch = now.duration_since(UNIX_EPOCH);
    let second = since_epoch.unwrap_or_default().as_secs();
    member_id(peer_urls, &second.to_string())
}

/// Peer URLs as a member is known by them: valid, sorted.
fn peer_urls(urls: &[String]) -> Result<Vec<String>> {
    let urls: BTreeSet<ServerUrl> = urls
        .iter()
        .map(|url| url.parse())
        .collect::<Result<_>>()
        .map_err(|_| StoreError::MemberBadUrls)?;
    if urls.is_empty() {
        return Err(StoreError::MemberBadUrls);
    }
    Ok(urls.iter().map(ToString::to_string).collect())
}
