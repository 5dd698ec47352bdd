//! The cluster that a restore makes.

use super::{DEFAULT_TOKEN, cluster_id, json, member_id};
use crate::FormatError;

/// One member, as `--initial-cluster` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// Its name.
    pub name: String,
    /// The URLs on which the other members reach it.
    pub peer_urls: Vec<String>,
}

/// The cluster to write files for. Each of its members has to be restored from the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredCluster {
    /// Its members, in any order.
    pub members: Vec<NewMember>,
    /// `--initial-cluster-token`.
    pub token: String,
}

impl RestoredCluster {
    /// A cluster of one member under the default token.
    #[must_use]
    pub fn single(name: impl Into<String>, peer_url: impl Into<String>) -> Self {
        Self {
            members: vec![NewMember {
                name: name.into(),
                peer_urls: vec![peer_url.into()],
            }],
            token: DEFAULT_TOKEN.to_owned(),
        }
    }

    /// Checks the members, sorts their URLs and computes the ids.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] when there is no member, a name or URL is empty or used twice, a URL is not
    /// `scheme://host:port`, or two members have the same id.
    pub fn resolve(&self) -> Result<ResolvedCluster, FormatError> {
        if self.members.is_empty() {
            return Err(misuse("it has no member: name at least one".to_owned()));
        }
        let mut members = Vec::with_capacity(self.members.len());
        for member in &self.members {
            check(member)?;
            let mut peer_urls = member.peer_urls.clone();
            peer_urls.sort();
            members.push(MemberIdentity {
                id: member_id(&peer_urls, &self.token),
                name: member.name.clone(),
                peer_urls,
            });
        }
        members.sort_by_key(|member| member.id);
        for (position, member) in members.iter().enumerate() {
            for other in members.iter().skip(position + 1) {
                refuse_overlap(member, other)?;
            }
        }
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        Ok(ResolvedCluster {
            id: cluster_id(&ids),
            members,
        })
    }
}

/// A member with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberIdentity {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<String>,
}

impl MemberIdentity {
    /// The id as keys and paths spell it: lowercase hexadecimal without leading zeros.
    #[must_use]
    pub fn hex_id(&self) -> String {
        format!("{:x}", self.id)
    }

    /// The member as etcd's JSON has it, in the log and in the `members` bucket.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"id\":{},\"peerURLs\":", self.id);
        json::push_strings(&mut out, &self.peer_urls);
        out.push_str(",\"name\":");
        json::push_string(&mut out, &self.name);
        out.push('}');
        out
    }
}

/// A checked cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedCluster {
    /// The cluster's id.
    pub id: u64,
    /// Its members by ascending id.
    pub members: Vec<MemberIdentity>,
}

impl ResolvedCluster {
    /// The member of that name.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] when there is none.
    pub fn member(&self, name: &str) -> Result<&MemberIdentity, FormatError> {
        let member = self.members.iter().find(|member| member.name == name);
        member.ok_or_else(|| {
            let names: Vec<_> = self.members.iter().map(|member| &member.name).collect();
            misuse(format!("it has no member {name:?}, only {names:?}"))
        })
    }

    /// The number of members, which is also the Raft index of the last entry that a restore writes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.members.len() as u64
    }
}

fn check(member: &NewMember) -> Result<(), FormatError> {
    if member.name.is_empty() {
        return Err(misuse(format!(
            "the member at {:?} has no name",
            member.peer_urls
        )));
    }
    if member.peer_urls.is_empty() {
        return Err(misuse(format!("member {:?} has no peer URL", member.name)));
    }
    for url in &member.peer_urls {
        let sound = match url.split_once("://") {
            Some(("http" | "https", host)) => {
                host.contains(':') && !host.contains(['/', ' ', '?', '#'])
            }
            Some(("unix" | "unixs", path)) => !path.is_empty(),
            _ => false,
        };
        if !sound {
            return Err(misuse(format!(
                "member {:?} has the peer URL {url:?}: write http://host:port or https://host:port, without a path",
                member.name
            )));
        }
    }
    Ok(())
}

fn refuse_overlap(one: &MemberIdentity, other: &MemberIdentity) -> Result<(), FormatError> {
    let shared = one
        .peer_urls
        .iter()
        .any(|url| other.peer_urls.contains(url));
    if one.id == other.id || one.name == other.name || shared {
        return Err(misuse(format!(
            "members {:?} at {:?} and {:?} at {:?} share a name or a peer URL",
            one.name, one.peer_urls, other.name, other.peer_urls
        )));
    }
    Ok(())
}

fn misuse(reason: String) -> FormatError {
    FormatError::misuse("restored cluster", reason)
}
