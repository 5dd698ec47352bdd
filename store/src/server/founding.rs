//! Who the members are when a member starts for the first time.

use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::member::ids::{cluster_id, member_id};

use super::data::{Identity, Seed};
use super::{ClusterState, Config, ServerUrl};
use crate::error::{Result, StoreError};
use crate::members::Member;
use crate::raft::{Dial, ask_members};

/// How long one member may take to say who the members are.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// How often the members of a running cluster are asked before a joining member gives up.
const ASKS: u32 = 12;

/// Decides who the member is and with whom it founds a cluster: from the seed, else from the settings, else by asking the running members.
pub(super) async fn found(
    config: &Config,
    seed: Option<&Seed>,
    dial: &Arc<dyn Dial>,
) -> Result<Identity> {
    match seed {
        Some(seed) if !seed.members.is_empty() => from_seed(config, seed),
        _ if config.initial_cluster_state == ClusterState::Existing => join(config, dial).await,
        _ => from_settings(config),
    }
}

fn from_settings(config: &Config) -> Result<Identity> {
    let token = &config.initial_cluster_token;
    let mut founders: Vec<Member> = config
        .initial_cluster
        .members()
        .map(|(name, urls)| {
            let peer_urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
            Member {
                id: member_id(&peer_urls, token),
                name: name.to_owned(),
                peer_urls,
                ..Member::default()
            }
        })
        .collect();
    founders.sort_by_key(|founder| founder.id);
    let own = founders.iter().find(|founder| founder.name == config.name);
    // The settings were checked for it.
    let own =
        own.ok_or_else(|| StoreError::Config("--initial-cluster lacks this member".into()))?;
    Ok(identity_of(own, &founders))
}

fn from_seed(config: &Config, seed: &Seed) -> Result<Identity> {
    let founders = &seed.members;
    let own_urls = texts(&config.initial_advertise_peer_urls);
    let own = match founders.as_slice() {
        // The only member of its cluster is known by being alone, as in etcd, wherever it listens now.
        [only] if config.initial_cluster.members().count() <= 1 => Some(only),
        _ => founders.iter().find(|member| {
            member.name == config.name && member.peer_urls.iter().all(|url| own_urls.contains(url))
        }),
    };
    let Some(own) = own else {
        let known: Vec<String> = founders
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_urls.join(",")))
            .collect();
        return Err(StoreError::Config(format!(
            "the restored data in {} is for the members {}; this one is {}={}: start it with --name and \
             --initial-advertise-peer-urls of one of them",
            seed.file().display(),
            known.join(" "),
            config.name,
            own_urls.join(",")
        )));
    };
    Ok(identity_of(own, founders))
}

async fn join(config: &Config, dial: &Arc<dyn Dial>) -> Result<Identity> {
    let own = texts(&config.initial_advertise_peer_urls);
    let others: Vec<String> = config
        .initial_cluster
        .members()
        .filter(|(name, _)| *name != config.name)
        .flat_map(|(_, urls)| texts(urls))
        .collect();
    if others.is_empty() {
        return Err(StoreError::Config(
            "--initial-cluster-state=existing: --initial-cluster must name the running members too"
                .to_owned(),
        ));
    }
    let mut asks = 0;
    let view = loop {
        asks += 1;
        match ask_members(dial, &others, ASK_WITHIN).await {
            Ok(view) => match view.member_at(&own) {
                Some(member) => break (view.cluster_id, member.clone()),
                // The member that answered may not have heard of it yet.
                None if asks >= ASKS => {
                    return Err(StoreError::Config(format!(
                        "the cluster has no member with the peer URLs {}: add it first \
                         (etcdctl member add {} --peer-urls={})",
                        own.join(","),
                        config.name,
                        own.join(",")
                    )));
                }
                None => {}
            },
            Err(error) if asks >= ASKS => return Err(error),
            Err(error) => tracing::warn!(%error, "no member answers; asking again"),
        }
        tokio::time::sleep(config.election_timeout).await;
    };
    let (cluster_id, member) = view;
    Ok(Identity {
        cluster_id,
        member_id: member.id,
        peer_urls: member.peer_urls,
        founders: Vec::new(),
    })
}

fn identity_of(own: &Member, founders: &[Member]) -> Identity {
    let ids: Vec<u64> = founders.iter().map(|founder| founder.id).collect();
    Identity {
        cluster_id: cluster_id(&ids),
        member_id: own.id,
        peer_urls: own.peer_urls.clone(),
        founders: founders.to_vec(),
    }
}

fn texts(urls: &[ServerUrl]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_founder_computes_the_same_cluster() {
        let config = |name: &str, url: &str| {
            let mut config = Config::alone(name, name);
            config.initial_cluster = "a=http://h:1,b=http://h:2".parse().unwrap();
            config.initial_advertise_peer_urls = ServerUrl::list(url).unwrap();
            from_settings(&config).unwrap()
        };
        let (a, b) = (config("a", "http://h:1"), config("b", "http://h:2"));
        assert_eq!(a.cluster_id, b.cluster_id);
        assert_ne!(a.member_id, b.member_id);
        assert_eq!(a.founders, b.founders);
    }
}
