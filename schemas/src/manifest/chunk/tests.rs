use super::super::ChunkRef;
use super::*;
use crate::digest::RowDigest;
use crate::kv::KeyValue;
use crate::names::{ClusterName, VaultId};
use crate::{Revision, Row, RowKey};

/// A chunk has its key filter whatever round it was stored in.
#[test]
fn a_key_filter_is_read_as_it_was_written() {
    let mut plain = Vec::new();
    for main in 1..400 {
        let key = format!("/registry/pods/p{main}");
        let kv = KeyValue {
            key: key.as_bytes(),
            value: &[7; 64],
            ..KeyValue::default()
        };
        let value = kv.encode();
        let key = RowKey {
            main: Revision(main),
            sub: 0,
            tombstone: false,
        };
        Row { key, value: &value }.append_to(&mut plain).unwrap();
    }
    let hash = ChunkHash::of(&plain);
    for (round, name) in [(0, format!("{hash}")), (3, format!("{hash}-3"))] {
        let identity = Identity {
            kind: envelope::Kind::Chunk,
            vault: VaultId([1; 16]),
            cluster: Some(ClusterName::new("c").unwrap()),
            timeline: None,
            first: Revision(1),
            last: Revision(399),
            level: 0,
            name,
        };
        let object = encode_chunk(&identity, "test", &plain, 3).unwrap();
        let chunk = ChunkRef {
            hash,
            round,
            first: identity.first,
            last: identity.last,
            rows: 399,
            plain_bytes: plain.len() as u64,
            stored_bytes: object.len() as u64,
            digest: RowDigest::default(),
            keys_bytes: chunk_keys_bytes(&object),
        };
        let at = |offset| usize::try_from(offset).unwrap();
        let range = chunk_keys_range(&chunk).unwrap();
        let bytes = object.slice(at(range.start)..at(range.end));
        let filter = decode_chunk_keys(&bytes, &hash).unwrap().unwrap();
        assert!(filter.may_hold(b"/registry/pods/p7") && !filter.may_hold(b"/registry/pods/none"));
        assert!(decode_chunk_keys(&bytes, &ChunkHash::of(b"other")).is_err());
    }
}
