//! The members that a cluster begins with.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::url::ServerUrl;
use crate::error::StoreError;

/// Whether a member without data begins a new cluster or joins one that runs (`--initial-cluster-state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterState {
    /// All members of `--initial-cluster` begin together.
    #[default]
    New,
    /// The cluster runs, and this member was added to it (`etcdctl member add`).
    Existing,
}

impl FromStr for ClusterState {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            "new" => Ok(Self::New),
            "existing" => Ok(Self::Existing),
            other => Err(StoreError::Config(format!(
                "--initial-cluster-state={other}: it is `new` or `existing`"
            ))),
        }
    }
}

/// Names and peer URLs (`--initial-cluster`): `a=http://h1:2380,b=http://h2:2380`. A name may come more than once, with a
/// URL each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<ServerUrl>>,
}

impl InitialCluster {
    /// One member.
    pub fn alone(name: &str, peer_urls: &[ServerUrl]) -> Self {
        Self {
            members: BTreeMap::from([(name.to_owned(), peer_urls.to_vec())]),
        }
    }

    /// The peer URLs of a member, sorted.
    pub fn peer_urls(&self, name: &str) -> Option<&[ServerUrl]> {
        self.members.get(name).map(Vec::as_slice)
    }

    /// All members by name.
    pub fn members(&self) -> impl Iterator<Item = (&str, &[ServerUrl])> {
        self.members
            .iter()
            .map(|(name, urls)| (name.as_str(), urls.as_slice()))
    }
}

impl FromIterator<(String, Vec<ServerUrl>)> for InitialCluster {
    fn from_iter<T: IntoIterator<Item = (String, Vec<ServerUrl>)>>(members: T) -> Self {
        let mut cluster = Self {
            members: members.into_iter().collect(),
        };
        for urls in cluster.members.values_mut() {
            urls.sort();
        }
        cluster
    }
}

impl FromStr for InitialCluster {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let mut members = BTreeMap::<String, Vec<ServerUrl>>::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, url) = part.split_once('=').ok_or_else(|| {
                StoreError::Config(format!("--initial-cluster: {part:?} is not name=peer-url"))
            })?;
            members
                .entry(name.trim().to_owned())
                .or_default()
                .push(url.parse()?);
        }
        let mut all: Vec<&ServerUrl> = members.values().flatten().collect();
        all.sort();
        let count = all.len();
        all.dedup();
        if all.len() != count {
            return Err(StoreError::Config(format!(
                "--initial-cluster={text}: a peer URL belongs to one member only"
            )));
        }
        for urls in members.values_mut() {
            urls.sort();
        }
        Ok(Self { members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_may_have_many_urls_but_a_url_only_one_member() {
        let cluster: InitialCluster = "a=http://h:2,b=http://h:3,a=http://h:1".parse().unwrap();
        let urls: Vec<_> = cluster
            .peer_urls("a")
            .unwrap()
            .iter()
            .map(ServerUrl::as_str)
            .collect();
        assert_eq!(urls, ["http://h:1", "http://h:2"]);
        assert!(
            "a=http://h:1,b=http://h:1"
                .parse::<InitialCluster>()
                .is_err()
        );
        assert!("http://h:1".parse::<InitialCluster>().is_err());
    }
}
