//! What a member must know before it can join.

use std::{sync::Arc, time::Duration};

use revkeep_schemas::store_api::MembersRequest;
use tokio::time::timeout;

use super::{
    Dial, PeerMember,
    peer::{PROTOCOL, client_of},
};
use crate::{Result, StoreError};

/// A cluster as one of its members describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster's id.
    pub cluster_id: u64,
    /// All members, ascending by id; the one that is about to join among them, since it was added before.
    pub members: Vec<PeerMember>,
}

impl ClusterView {
    /// The member that has one of these peer URLs.
    pub fn member_at(&self, peer_urls: &[String]) -> Option<&PeerMember> {
        let mut members = self.members.iter();
        members.find(|member| member.peer_urls.iter().any(|url| peer_urls.contains(url)))
    }
}

/// Asks the members at these peer URLs, one after the other, who the members are. For one that is about to join and
/// knows neither its own id nor the cluster's.
pub async fn ask_members(
    dial: &Arc<dyn Dial>,
    peer_urls: &[String],
    patience: Duration,
) -> Result<ClusterView> {
    let mut failure = StoreError::Config("there is no peer URL to ask for the members".to_owned());
    for url in peer_urls {
        let mut client = client_of(vec![url.clone()], dial, patience);
        let request = MembersRequest { version: PROTOCOL };
        match timeout(patience, client.members(request)).await {
            Ok(Ok(response)) => {
                let response = response.into_inner();
                return Ok(ClusterView {
                    cluster_id: response.cluster_id,
                    members: response.members,
                });
            }
            Ok(Err(status)) => {
                failure =
                    StoreError::internal_from(format!("{url} was asked for the members"), status);
            }
            Err(_) => {
                failure = StoreError::internal(format!(
                    "{url} did not say within {patience:?} who the members are"
                ));
            }
        }
    }
    Err(failure)
}
