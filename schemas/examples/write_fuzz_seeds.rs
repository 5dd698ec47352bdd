//! Derives the seeds of Revkeep's own formats from what a real server left: `write_fuzz_seeds FOLDER`, with its
//! `snapshot.db`. `fuzz/make-seeds` runs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool of development: it panics where it fails"
)]

#[path = "../fuzz/src/identity.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod identity;

use std::{env, fs, path::Path};

use revkeep_schemas::{
    Revision, RowBuf, RowSource as _,
    boltdb::DbFile,
    digest::RowDigest,
    envelope::{Kind, seal},
    manifest::{
        BaseFacts, BaseManifest, Checkpoint, ChunkHash, ChunkRef, GapRecord, SmallBucket,
        SourceIdentity, TimelineRecord, Witness, encode_chunk,
    },
    names::{ClusterName, TimelineId, Uid, VaultId},
    segment::{SegmentOrigin, SegmentWriter},
};

use identity::identity;

fn read_rows(db: &DbFile) -> Vec<RowBuf> {
    let mut source = db.rows().unwrap();
    let mut rows = Vec::new();
    while let Some(row) = source.next_row().unwrap() {
        rows.push(row.to_buf());
    }
    rows
}

fn buckets(db: &DbFile) -> Vec<SmallBucket> {
    let mut buckets = Vec::new();
    for name in db
        .bucket_names()
        .unwrap()
        .into_iter()
        .filter(|name| name != b"key")
    {
        let mut cursor = db.bucket(&name).unwrap().unwrap().cursor();
        let mut entries = Vec::new();
        while let Some((key, value)) = cursor.next_entry().unwrap() {
            entries.push((key.to_vec(), value.to_vec()));
        }
        buckets.push(SmallBucket { name, entries });
    }
    buckets
}

fn segment(rows: &[RowBuf]) -> Vec<u8> {
    let mut writer = SegmentWriter::new(
        SegmentOrigin {
            vault: VaultId([7; 16]),
            cluster: ClusterName::new("prod").unwrap(),
            timeline: TimelineId(1),
            level: 0,
            uid: Uid(1),
            writer: "seed".to_owned(),
        },
        1,
    );
    // The longest run of revisions without a hole at the end, which compaction has not touched.
    let start = rows
        .windows(2)
        .rposition(|pair| pair[1].key.main.0 > pair[0].key.main.0 + 1);
    let run = &rows[start.map_or(0, |at| at + 1)..];
    for revision in run.chunk_by(|a, b| a.key.main == b.key.main) {
        let revision: Vec<_> = revision.iter().map(RowBuf::as_row).collect();
        writer.push_revision(&revision, 1_700_000_000_000).unwrap();
    }
    writer.finish().unwrap().bytes.to_vec()
}

fn main() {
    let source = env::args().nth(1).expect("a folder with snapshot.db");
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        assert!(
            bytes.len() < 200_000,
            "{target}/{name} is too large for a seed"
        );
        fs::create_dir_all(seeds.join(target)).unwrap();
        fs::write(seeds.join(target).join(name), bytes).unwrap();
    };
    let db = DbFile::open(Path::new(&source).join("snapshot.db")).unwrap();
    let rows = read_rows(&db);
    assert!(
        rows.iter().any(|row| row.key.tombstone),
        "the server deleted something"
    );
    let (mut plain, mut digest) = (Vec::new(), RowDigest::default());
    for row in &rows {
        row.as_row().append_to(&mut plain).unwrap();
        digest.add(&row.as_row());
    }
    put("rows", "etcd-3.5", &plain);
    put("rows", "key", &rows[0].key.encode());
    put("key_value", "first", &rows[0].value);
    put("key_value", "last", &rows[rows.len() - 1].value);
    put(
        "key_value",
        "tombstone",
        &rows.iter().find(|row| row.key.tombstone).unwrap().value,
    );
    let lease = rows.iter().max_by_key(|row| row.value.len()).unwrap();
    put("key_value", "longest", &lease.value);

    let hash = ChunkHash::of(&plain);
    let chunk = encode_chunk(&identity(Kind::Chunk, &hash.to_string()), "seed", &plain, 1).unwrap();
    put("chunk", "etcd-3.5", &chunk);
    put("segment", "etcd-3.5", &segment(&rows));

    let (scheduled, _) = db.compact_revisions().unwrap();
    let base = BaseManifest {
        facts: BaseFacts {
            revision: db.snapshot_revision().unwrap(),
            compact_revision: scheduled.unwrap_or(Revision(0)),
            buckets: buckets(&db),
            checkpoint: None::<Checkpoint>,
            etcd_version: "3.5.1".to_owned(),
            cluster_id: 1,
            member_id: 2,
            raft_term: 2,
            raft_index: 99,
            db_bytes: db.pages_bytes(),
            started_unix_ms: 1_700_000_000_000,
            finished_unix_ms: 1_700_000_001_000,
        },
        chunks: vec![ChunkRef {
            hash,
            round: 0,
            first: rows[0].key.main,
            last: rows[rows.len() - 1].key.main,
            rows: rows.len() as u64,
            plain_bytes: plain.len() as u64,
            stored_bytes: chunk.len() as u64,
            digest,
            keys_bytes: 0,
        }],
        rows: rows.len() as u64,
        plain_bytes: plain.len() as u64,
        stored_bytes: chunk.len() as u64,
        digest,
    };
    assert_eq!(BaseManifest::decode(&base.encode()).unwrap(), base);
    put("manifest", "base", &base.encode());
    let timeline = timeline(digest);
    put("manifest", "timeline", &timeline.encode());
    let gap = GapRecord {
        first: Revision(3),
        last: Revision(7),
        reason: "compacted before it was captured".to_owned(),
        distrusted: true,
    };
    put("manifest", "gap", &gap.encode());
    put("manifest", "chunk-name", hash.to_string().as_bytes());
    let sealed = seal(&identity(Kind::Gap, ""), "seed", &gap.encode());
    put("envelope", "gap", &sealed);
    let identity = identity(Kind::Base, "0000000000000001");
    put("envelope", "base", &seal(&identity, "seed", &base.encode()));
}

fn timeline(digest: RowDigest) -> TimelineRecord {
    TimelineRecord {
        source: SourceIdentity {
            cluster_id: 1,
            member_ids: vec![2, 3],
            etcd_version: "3.5.1".to_owned(),
            first_seen_unix_ms: 1_700_000_000_000,
            witness: Some(Witness {
                revision: Revision(9),
                digest,
                raft_term: 2,
                raft_index: 14,
                raft_surplus: None,
            }),
        },
        parent: Some((TimelineId(1), Revision(5))),
        fork_at_most: true,
    }
}
