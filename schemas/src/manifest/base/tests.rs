use proptest::prelude::*;

use super::*;
use crate::envelope::{self, Identity, Kind};
use crate::names::{ClusterName, TimelineId, VaultId};

fn chunk(n: u8, first: i64, last: i64) -> ChunkRef {
    ChunkRef {
        hash: ChunkHash([n; 32]),
        round: 0,
        first: Revision(first),
        last: Revision(last),
        rows: u64::from(n),
        plain_bytes: 100 * u64::from(n),
        stored_bytes: 30 * u64::from(n),
        digest: RowDigest::from_bytes([n; 16]),
        keys_bytes: u64::from(n / 2),
    }
}

fn manifest(chunks: Vec<ChunkRef>) -> BaseManifest {
    let facts = BaseFacts {
        revision: Revision(90),
        compact_revision: Revision(20),
        buckets: vec![SmallBucket {
            name: b"lease".to_vec(),
            entries: vec![(vec![7], vec![8]), (vec![9], Vec::new())],
        }],
        checkpoint: Some(Checkpoint {
            revision: Revision(90),
            compact_revision: Revision(20),
            hash: 0xdead_beef,
        }),
        etcd_version: "3.5.1".into(),
        cluster_id: u64::MAX,
        member_id: 2,
        raft_term: 3,
        raft_index: 4,
        db_bytes: 5,
        started_unix_ms: -6,
        finished_unix_ms: 7,
    };
    BaseManifest::of_chunks(facts, chunks)
}

fn sample() -> BaseManifest {
    manifest(vec![chunk(1, 2, 30), chunk(2, 30, 60), chunk(3, 61, 90)])
}

fn identity(cluster: &str, revision: i64) -> Identity {
    Identity {
        kind: Kind::Base,
        vault: VaultId([1; 16]),
        cluster: Some(ClusterName::new(cluster).unwrap()),
        timeline: Some(TimelineId::FIRST),
        first: Revision(revision),
        last: Revision(revision),
        level: 0,
        name: "uid".into(),
    }
}

#[test]
fn comes_back_as_it_was() {
    for manifest in [sample(), manifest(Vec::new())] {
        assert_eq!(BaseManifest::decode(&manifest.encode()).unwrap(), manifest);
    }
    assert_eq!(sample().rows, 6);
    assert_eq!(sample().covers(), (Revision(20), Revision(90)));
}

#[test]
fn every_truncation_and_every_flipped_bit_of_the_object_is_refused() {
    let asked = identity("prod", 90);
    let object = envelope::seal(&asked, "test", &sample().encode());
    let read = |object: &[u8]| {
        let object = bytes::Bytes::copy_from_slice(object);
        envelope::open(&object, &asked).and_then(|body| BaseManifest::decode(&body))
    };
    assert_eq!(read(&object).unwrap(), sample());
    for length in 0..object.len() {
        read(&object[..length]).unwrap_err();
    }
    for bit in 0..object.len() * 8 {
        let mut damaged = object.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn a_manifest_of_another_base_is_refused() {
    let object = envelope::seal(&identity("prod", 90), "test", &sample().encode());
    envelope::open(&object, &identity("prod", 90)).unwrap();
    for foreign in [
        identity("other", 90),
        identity("prod", 91),
        Identity {
            vault: VaultId([2; 16]),
            ..identity("prod", 90)
        },
        Identity {
            timeline: Some(TimelineId(2)),
            ..identity("prod", 90)
        },
        Identity {
            name: "another".into(),
            ..identity("prod", 90)
        },
        Identity {
            kind: Kind::Gap,
            ..identity("prod", 90)
        },
    ] {
        assert!(envelope::open(&object, &foreign).is_err(), "{foreign:?}");
    }
}

#[test]
fn one_that_contradicts_itself_is_refused() {
    let refused = |change: fn(&mut BaseManifest)| {
        let mut manifest = sample();
        change(&mut manifest);
        BaseManifest::decode(&manifest.encode()).unwrap_err();
    };
    refused(|manifest| manifest.rows += 1);
    refused(|manifest| manifest.plain_bytes -= 1);
    refused(|manifest| manifest.digest = RowDigest::default());
    refused(|manifest| manifest.chunks.truncate(2));
    refused(|manifest| manifest.chunks.swap(0, 1));
    refused(|manifest| manifest.chunks[1].last = Revision(10));
    refused(|manifest| manifest.facts.revision = Revision(89));
    refused(|manifest| manifest.facts.compact_revision = Revision(91));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(manifest) = BaseManifest::decode(&bytes) {
            prop_assert_eq!(BaseManifest::decode(&manifest.encode()).unwrap(), manifest);
        }
    }
}
