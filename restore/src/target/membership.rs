//! etcdutl's flags about the member to build.

use crate::error::{Kind, RestoreError};

/// The member to build and the cluster that it boots into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The name of the member whose directory is built.
    pub name: String,
    /// Names and sorted peer URLs of all members.
    pub members: Vec<(String, Vec<String>)>,
    /// The token that member and cluster ids are derived from.
    pub token: String,
}

impl Membership {
    /// Reads `--name`, `--initial-cluster` (`name=url,…`, a name once for each of its URLs; by default the member
    /// alone), `--initial-advertise-peer-urls` and `--initial-cluster-token` with etcdutl's meaning.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when they contradict each other.
    pub fn parse(
        name: &str,
        initial_cluster: Option<&str>,
        advertise_peer_urls: &str,
        token: &str,
    ) -> Result<Self, RestoreError> {
        let own: Vec<_> = advertise_peer_urls.split(',').map(str::trim).collect();
        let default = || {
            let pairs: Vec<_> = own.iter().map(|url| format!("{name}={url}")).collect();
            pairs.join(",")
        };
        let text = initial_cluster.map_or_else(default, str::to_owned);
        let mut members: Vec<(String, Vec<String>)> = Vec::new();
        for pair in text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let (member, url) = pair.split_once('=').ok_or_else(|| {
                invalid(format!(
                    "--initial-cluster: {pair:?} is not of the form name=url"
                ))
            })?;
            check_url(url)?;
            match members.iter_mut().find(|(known, _)| known == member) {
                Some((_, urls)) => urls.push(url.to_owned()),
                None => members.push((member.to_owned(), vec![url.to_owned()])),
            }
        }
        for (_, urls) in &mut members {
            urls.sort();
        }
        let membership = Self {
            name: name.to_owned(),
            members,
            token: token.to_owned(),
        };
        membership.check(&own)?;
        Ok(membership)
    }

    fn check(&self, own: &[&str]) -> Result<(), RestoreError> {
        let urls: Vec<_> = self.members.iter().flat_map(|(_, urls)| urls).collect();
        let mut unique = urls.clone();
        unique.sort();
        unique.dedup();
        if unique.len() != urls.len() {
            return Err(invalid("--initial-cluster names a peer URL twice"));
        }
        let Some((_, listed)) = self.members.iter().find(|(name, _)| *name == self.name) else {
            return Err(invalid(format!(
                "--initial-cluster does not name {:?}, the member to restore: add it, or give --name",
                self.name
            )));
        };
        let mut own: Vec<_> = own.to_vec();
        own.sort_unstable();
        if *listed != own {
            return Err(invalid(format!(
                "--initial-cluster gives {:?} the peer URLs {}, --initial-advertise-peer-urls {}: they must be equal",
                self.name,
                listed.join(","),
                own.join(",")
            )));
        }
        Ok(())
    }
}

fn check_url(url: &str) -> Result<(), RestoreError> {
    let address = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .or_else(|| url.strip_prefix("unix://"));
    if address.is_some_and(|address| address.contains(':') && !address.contains('/')) {
        return Ok(());
    }
    Err(invalid(format!(
        "--initial-cluster or --initial-advertise-peer-urls: {url:?} is not a peer URL such as http://10.0.0.1:2380"
    )))
}

fn invalid(message: impl Into<String>) -> RestoreError {
    RestoreError::new(Kind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://localhost:2380";

    #[test]
    fn the_defaults_are_one_member() {
        let membership = Membership::parse("default", None, URL, "etcd-cluster").unwrap();
        assert_eq!(
            membership.members,
            [("default".to_owned(), vec![URL.to_owned()])]
        );
    }

    #[test]
    fn many_members_and_many_urls() {
        let cluster = "a=http://x:1,b=http://y:2,a=http://w:3";
        let membership =
            Membership::parse("a", Some(cluster), "http://x:1,http://w:3", "t").unwrap();
        assert_eq!(membership.members.len(), 2);
        assert_eq!(membership.members[0].1, ["http://w:3", "http://x:1"]);
    }

    #[test]
    fn contradictions_are_refused() {
        for (name, cluster, own) in [
            ("c", "a=http://x:1", "http://x:1"),
            ("a", "a=http://x:1", "http://x:2"),
            ("a", "a=http://x:1,b=http://x:1", "http://x:1"),
            ("a", "http://x:1", "http://x:1"),
            ("a", "a=x:1", "x:1"),
            ("a", "a=http://x:1/p", "http://x:1/p"),
        ] {
            let error = Membership::parse(name, Some(cluster), own, "t").unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{cluster}");
        }
    }
}
