//! The members of the cluster, as clients see them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use revkeep_schemas::etcd_api::etcdserverpb;
use revkeep_schemas::store_api::MemberAttributes;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Bucket};
use crate::error::{Result, StoreError};
use crate::raft::PeerMember;

/// The key of the cluster's version in the bucket `cluster`.
const CLUSTER_VERSION: &[u8] = b"clusterVersion";
/// The value of an entry of the bucket `members_removed`.
const REMOVED: &[u8] = b"removed";

/// A member, as the bucket `members` holds it: JSON with etcd's names, in etcd's order (etcd,
/// `server/etcdserver/api/membership/member.go`). The key is the id in hexadecimal without leading zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where the other members reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// It has no vote.
    #[serde(rename = "isLearner", default, skip_serializing_if = "is_false")]
    pub is_learner: bool,
    /// Its name; empty until it first serves clients, unless it is one of the first members.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; empty until it first serves them.
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl From<Member> for etcdserverpb::Member {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            name: member.name,
            peer_ur_ls: member.peer_urls,
            client_ur_ls: member.client_urls,
            is_learner: member.is_learner,
        }
    }
}

impl From<&Member> for PeerMember {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            learner: member.is_learner,
        }
    }
}

/// The members of the cluster and its version, the same on every member.
#[derive(Debug)]
pub struct Members {
    backend: Arc<Backend>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: Option<String>,
}

impl Members {
    /// Reads the buckets.
    ///
    /// # Errors
    /// An entry that is no member.
    pub fn open(backend: Arc<Backend>) -> Result<Self> {
        let members = Self {
            backend,
            state: RwLock::default(),
        };
        members.reload()?;
        Ok(members)
    }

    /// Reads the buckets again, after a snapshot has replaced them.
    ///
    /// # Errors
    /// An entry that is no member.
    pub fn reload(&self) -> Result<()> {
        let mut state = State::default();
        for (key, value) in self.backend.entries(Bucket::Members)? {
            let id = parse_id(Bucket::Members, &key)?;
            let mut member: Member = serde_json::from_slice(&value)
                .map_err(|error| damaged(Bucket::Members, &key, &error))?;
            member.id = id;
            state.members.insert(id, member);
        }
        for key in self.backend.entries(Bucket::MembersRemoved)?.into_keys() {
            let id = parse_id(Bucket::MembersRemoved, &key)?;
            state.removed.insert(id);
        }
        let version = Bytes::from_static(CLUSTER_VERSION);
        if let Some(version) = self.backend.get(Bucket::Cluster, &version)? {
            state.cluster_version = Some(String::from_utf8_lossy(&version).into_owned());
        }
        *self.state.write() = state;
        Ok(())
    }

    /// All members, ascending by id.
    pub fn list(&self) -> Vec<Member> {
        self.state.read().members.values().cloned().collect()
    }

    /// One member.
    pub fn get(&self, id: u64) -> Option<Member> {
        self.state.read().members.get(&id).cloned()
    }

    /// Whether a member was removed from the cluster.
    pub fn is_removed(&self, id: u64) -> bool {
        self.state.read().removed.contains(&id)
    }

    /// The version of etcd's API that the cluster has agreed to speak, such as `3.5.0`.
    pub fn cluster_version(&self) -> Option<String> {
        self.state.read().cluster_version.clone()
    }

    /// Applies the members that consensus goes on with. What a member said of itself stays.
    pub(crate) fn set_peers(&self, peers: &[PeerMember]) {
        let mut state = self.state.write();
        let mut before = std::mem::take(&mut state.members);
        for peer in peers {
            let known = before.remove(&peer.id);
            let known = known.as_ref();
            let member = Member {
                id: peer.id,
                peer_urls: peer.peer_urls.clone(),
                is_learner: peer.learner,
                name: known
                    .map(|known| &known.name)
                    .filter(|name| !name.is_empty())
                    .unwrap_or(&peer.name)
                    .clone(),
                client_urls: known
                    .map(|known| known.client_urls.clone())
                    .unwrap_or_default(),
            };
            if known != Some(&member) {
                self.put(&member);
            }
            state.members.insert(peer.id, member);
        }
        for id in before.into_keys() {
            self.backend.delete(Bucket::Members, key_of(id));
            self.backend.put(
                Bucket::MembersRemoved,
                key_of(id),
                Bytes::from_static(REMOVED),
            );
            state.removed.insert(id);
            tracing::info!(member = format_args!("{id:x}"), "removed member");
        }
    }

    /// Applies what a member says of itself. That of a member that is gone is of no interest.
    pub(crate) fn set_attributes(&self, attributes: &MemberAttributes) {
        let mut state = self.state.write();
        if let Some(member) = state.members.get_mut(&attributes.member_id) {
            member.name.clone_from(&attributes.name);
            member.client_urls.clone_from(&attributes.client_urls);
            self.put(member);
        }
    }

    /// Applies the version that the cluster agrees on.
    pub(crate) fn set_cluster_version(&self, version: &str) {
        let key = Bytes::from_static(CLUSTER_VERSION);
        let value = Bytes::copy_from_slice(version.as_bytes());
        self.backend.put(Bucket::Cluster, key, value);
        self.state.write().cluster_version = Some(version.to_owned());
        tracing::info!(version, "set the cluster version");
    }

    fn put(&self, member: &Member) {
        match serde_json::to_vec(member) {
            Ok(json) => self
                .backend
                .put(Bucket::Members, key_of(member.id), json.into()),
            // Strings and numbers always have a JSON form.
            Err(error) => tracing::error!(%error, "cannot write a member"),
        }
    }
}

fn key_of(id: u64) -> Bytes {
    format!("{id:x}").into()
}

fn parse_id(bucket: Bucket, key: &Bytes) -> Result<u64> {
    std::str::from_utf8(key)
        .ok()
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| damaged(bucket, key, &"the key is no id"))
}

fn damaged(bucket: Bucket, key: &Bytes, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::damaged(
        format!(
            "bucket {}, key {:?}",
            bucket.name(),
            key.escape_ascii().to_string()
        ),
        reason.to_string(),
    )
}
