//! Formats are for ever: objects of every released version, as they were written, decode to the same content.
//!
//! The ignored test wrote the files of the current version; it never overwrites one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

use std::path::PathBuf;

use bytes::Bytes;
use revkeep_schemas::envelope::{self, Identity, Kind};
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::{
    BaseFacts, BaseManifest, Checkpoint, ChunkHash, ChunkRef, Chunker, ChunkerOptions, GapRecord,
    SmallBucket, decode_chunk, encode_chunk,
};
use revkeep_schemas::names::{ClusterName, TimelineId, Uid, VaultId};
use revkeep_schemas::segment::{
    CompactionMark, LeaseFact, SealedSegment, SegmentOrigin, SegmentReader, SegmentWriter,
};
use revkeep_schemas::{Revision, RowBuf, RowKey};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/revkeep/v1")
}

fn golden(name: &str) -> Bytes {
    std::fs::read(folder().join(name)).unwrap().into()
}

fn identity(kind: Kind, range: (i64, i64), name: &str) -> Identity {
    Identity {
        kind,
        vault: VaultId(*b"golden vault id!"),
        cluster: Some(ClusterName::new("golden").unwrap()),
        timeline: Some(TimelineId::FIRST).filter(|_| kind != Kind::Chunk),
        first: Revision(range.0),
        last: Revision(range.1),
        level: 0,
        name: name.into(),
    }
}

fn rows() -> Vec<RowBuf> {
    let row = |main: i64, sub, tombstone| {
        let key = RowKey {
            main: Revision(main),
            sub,
            tombstone,
        };
        let kv = KeyValue {
            key: b"greeting",
            create_revision: 2,
            mod_revision: main,
            version: main - 1,
            value: b"hello",
            lease: 7,
        };
        let value = if tombstone {
            KeyValue::encode_tombstone(b"greeting")
        } else {
            kv.encode()
        };
        RowBuf {
            key,
            value: value.into(),
        }
    };
    vec![
        row(2, 0, false),
        row(3, 0, false),
        row(3, 1, false),
        row(4, 0, true),
    ]
}

fn segment() -> SealedSegment {
    let identity = identity(Kind::Segment, (2, 4), "");
    let origin = SegmentOrigin {
        vault: identity.vault,
        cluster: identity.cluster.unwrap(),
        timeline: TimelineId::FIRST,
        level: 0,
        uid: Uid(0xabc),
        writer: "golden".into(),
    };
    let mut writer = SegmentWriter::new(origin, 1);
    let rows = rows();
    for main in 2..=4 {
        let rows: Vec<_> = rows
            .iter()
            .filter(|row| row.key.main.0 == main)
            .map(RowBuf::as_row)
            .collect();
        writer
            .push_revision(&rows, 1_700_000_000_000 + main)
            .unwrap();
    }
    writer.lease(LeaseFact {
        id: 7,
        granted_ttl_s: 60,
        first_seen: Revision(2),
    });
    writer.compaction(CompactionMark {
        revision: Revision(4),
        compact_revision: Revision(3),
    });
    writer.checkpoint(checkpoint());
    writer.finish().unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        revision: Revision(4),
        compact_revision: Revision(3),
        hash: 0xdead_beef,
    }
}

fn base() -> (BaseManifest, Vec<u8>) {
    let mut chunker = Chunker::new(ChunkerOptions::default());
    for row in rows() {
        assert!(chunker.push(&row.as_row()).unwrap().is_none());
    }
    let chunk = chunker.finish().unwrap();
    let reference = ChunkRef {
        hash: chunk.hash(),
        round: 0,
        first: chunk.first,
        last: chunk.last,
        rows: chunk.rows,
        plain_bytes: chunk.plain.len() as u64,
        stored_bytes: 300,
        digest: chunk.digest,
        keys_bytes: 0,
    };
    let manifest = BaseManifest {
        facts: BaseFacts {
            revision: Revision(4),
            compact_revision: Revision(1),
            buckets: vec![SmallBucket {
                name: b"lease".to_vec(),
                entries: vec![(vec![0, 0, 0, 0, 0, 0, 0, 7], vec![8, 7, 16, 60])],
            }],
            checkpoint: Some(checkpoint()),
            etcd_version: "3.6.0".into(),
            cluster_id: 1,
            member_id: 2,
            raft_term: 3,
            raft_index: 4,
            db_bytes: 20_480,
            started_unix_ms: 1_700_000_000_000,
            finished_unix_ms: 1_700_000_000_001,
        },
        chunks: vec![reference],
        rows: chunk.rows,
        plain_bytes: reference.plain_bytes,
        stored_bytes: 300,
        digest: chunk.digest,
    };
    (manifest, chunk.plain)
}

const GAP: &str = "0000000000000abc";

fn gap() -> GapRecord {
    GapRecord {
        distrusted: false,
        first: Revision(5),
        last: Revision(9),
        reason: "compacted".into(),
    }
}

#[test]
fn the_segment_reads_as_it_was_written() {
    let object = golden("segment");
    let asked = identity(Kind::Segment, (2, 4), "0000000000000abc");
    let reader = SegmentReader::open(object.clone(), &asked).unwrap();
    reader.verify().unwrap();
    let plain = reader.frame(&reader.index().frames[0]).unwrap();
    let read: Vec<_> = revkeep_schemas::row::EncodedRows::new(&plain)
        .map(|row| row.unwrap().to_buf())
        .collect();
    assert_eq!(read, rows());
    let (read, written) = (reader.index(), segment().index);
    assert_eq!(
        (&read.times, &read.leases),
        (&written.times, &written.leases)
    );
    assert_eq!(
        (&read.compactions, read.digest),
        (&written.compactions, written.digest)
    );
    assert_eq!(read.checkpoints, written.checkpoints);
}

#[test]
fn the_base_and_its_chunk_read_as_they_were_written() {
    let (manifest, plain) = base();
    let asked = identity(Kind::Base, (4, 4), "0000000000000abc");
    let body = envelope::open(&golden("base"), &asked).unwrap();
    assert_eq!(BaseManifest::decode(&body).unwrap(), manifest);
    let asked = identity(Kind::Chunk, (2, 4), &ChunkHash::of(&plain).to_string());
    assert_eq!(decode_chunk(&golden("chunk"), &asked).unwrap(), plain);
}

#[test]
fn the_gap_reads_as_it_was_written() {
    let body = envelope::open(&golden("gap"), &identity(Kind::Gap, (5, 9), GAP)).unwrap();
    assert_eq!(GapRecord::decode(&body).unwrap(), gap());
}

#[test]
#[ignore = "writes the golden files of the current version"]
fn write() {
    let (manifest, plain) = base();
    let chunk = identity(Kind::Chunk, (2, 4), &ChunkHash::of(&plain).to_string());
    let base = identity(Kind::Base, (4, 4), "0000000000000abc");
    let gap_identity = identity(Kind::Gap, (5, 9), GAP);
    let files = [
        ("segment", segment().bytes),
        ("base", envelope::seal(&base, "golden", &manifest.encode())),
        ("chunk", encode_chunk(&chunk, "golden", &plain, 3).unwrap()),
        (
            "gap",
            envelope::seal(&gap_identity, "golden", &gap().encode()),
        ),
    ];
    std::fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in files {
        let path = folder().join(name);
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
}
