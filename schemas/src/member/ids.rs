//! Member and cluster ids.

use sha1::{Digest, Sha1};

/// The token of a cluster that was given none (`--initial-cluster-token`).
pub const DEFAULT_TOKEN: &str = "etcd-cluster";

/// A member's id: the first eight bytes, big-endian, of the SHA-1 of its sorted peer URLs and the cluster's token,
/// joined (etcd, `server/etcdserver/api/membership/member.go`). The name has no part in it.
#[must_use]
pub fn member_id(peer_urls: &[String], token: &str) -> u64 {
    let mut sorted: Vec<_> = peer_urls.iter().collect();
    sorted.sort();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url.as_bytes());
    }
    hash.update(token.as_bytes());
    first_eight(hash)
}

/// A cluster's id: the first eight bytes, big-endian, of the SHA-1 of its members' ids in ascending order, eight
/// big-endian bytes each (etcd, `server/etcdserver/api/membership/cluster.go`).
#[must_use]
pub fn cluster_id(members: &[u64]) -> u64 {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for id in sorted {
        hash.update(id.to_be_bytes());
    }
    first_eight(hash)
}

fn first_eight(hash: Sha1) -> u64 {
    hash.finalize()
        .first_chunk()
        .copied()
        .map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_a_real_cluster() {
        let url = |url: &str| vec![url.to_owned()];
        let member = member_id(&url("http://127.0.0.1:2380"), DEFAULT_TOKEN);
        assert_eq!(member, 0xb71f_7532_0dc0_6a6c);
        assert_eq!(cluster_id(&[member]), 0x1c45_a069_f3a1_d796);
    }

    #[test]
    fn order_does_not_matter() {
        let urls = ["http://b".to_owned(), "http://a".to_owned()];
        let turned = ["http://a".to_owned(), "http://b".to_owned()];
        assert_eq!(member_id(&urls, "t"), member_id(&turned, "t"));
        assert_eq!(cluster_id(&[1, 2]), cluster_id(&[2, 1]));
        assert_ne!(member_id(&urls, "t"), member_id(&urls, "u"));
    }
}
