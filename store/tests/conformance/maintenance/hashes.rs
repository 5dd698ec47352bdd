//! Hashes of the key space: known values, so that every server gives the same.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "maintenance::hashes",
        [
            of_an_empty_store,
            of_known_rows,
            of_an_old_revision,
            of_a_future_revision,
            after_a_compaction,
            of_a_tombstone,
            of_the_whole_database,
            of_a_compacted_revision,
        ]
    )
    .alone()
}

async fn hash(case: &Case, revision: i64) -> Result<HashKvResponse, tonic::Status> {
    case.hash_kv(HashKvRequest { revision }).await
}

/// The hash that etcd's rule gives for rows (etcd, server/storage/mvcc/hash.go): CRC-32C of the bucket's name and of each
/// row's key and value.
fn expected(rows: &[(i64, &str, mvccpb::KeyValue)]) -> u32 {
    use prost::Message as _;
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(b"key");
    for (sub, mark, kv) in rows {
        digest.update(&kv.mod_revision.to_be_bytes());
        digest.update(b"_");
        digest.update(&sub.to_be_bytes());
        digest.update(mark.as_bytes());
        let stored = if mark.is_empty() {
            kv.clone()
        } else {
            // A tombstone's row holds the key alone.
            mvccpb::KeyValue {
                key: kv.key.clone(),
                ..mvccpb::KeyValue::default()
            }
        };
        digest.update(&stored.encode_to_vec());
    }
    u32::try_from(digest.finalize()).unwrap_or_default()
}

async fn of_an_empty_store(case: &mut Case) -> Result<()> {
    let answer = hash(case, 0).await?;
    assert_eq!((answer.hash, answer.compact_revision), (0x40a4_756d, -1));
    assert_eq!(answer.header, case.header(0));
    Ok(())
}

async fn of_known_rows(case: &mut Case) -> Result<()> {
    case.put(put("a", "1")).await?;
    case.txn(txn([put("a", "2").op(), put("b", "3").op()]))
        .await?;
    let (first, second) = (case.start + 1, case.start + 2);
    let rows = [
        (0, "", kv("a", "1", (first, first, 1))),
        (0, "", kv("a", "2", (first, second, 2))),
        (1, "", kv("b", "3", (second, second, 1))),
    ];
    assert_eq!(hash(case, 0).await?.hash, expected(&rows));
    Ok(())
}

async fn of_an_old_revision(case: &mut Case) -> Result<()> {
    case.put(put("a", "1")).await?;
    case.put(put("a", "2")).await?;
    let first = case.start + 1;
    let rows = [(0, "", kv("a", "1", (first, first, 1)))];
    let answer = hash(case, first).await?;
    assert_eq!(answer.hash, expected(&rows));
    assert_eq!(answer.header, case.header(2));
    Ok(())
}

async fn of_a_future_revision(case: &mut Case) -> Result<()> {
    refused(
        hash(case, case.start + 1).await,
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    )
}

async fn after_a_compaction(case: &mut Case) -> Result<()> {
    case.put(put("a", "1")).await?;
    case.put(put("a", "2")).await?;
    case.put(put("b", "3")).await?;
    case.put(put("b", "4")).await?;
    case.compact(CompactionRequest {
        revision: case.start + 3,
        physical: true,
    })
    .await?;
    let at = |n| case.start + n;
    // What was newest at the compacted revision and is not so any more does not count, though it is still there.
    let rows = [
        (0, "", kv("a", "2", (at(1), at(2), 2))),
        (0, "", kv("b", "4", (at(3), at(4), 2))),
    ];
    let answer = hash(case, 0).await?;
    assert_eq!(
        (answer.hash, answer.compact_revision),
        (expected(&rows), at(3))
    );
    Ok(())
}

async fn of_a_tombstone(case: &mut Case) -> Result<()> {
    case.put(put("a", "1")).await?;
    case.put(put("b", "2")).await?;
    case.delete_range(delete("a")).await?;
    let at = |n| case.start + n;
    let rows = [
        (0, "", kv("a", "1", (at(1), at(1), 1))),
        (0, "", kv("b", "2", (at(2), at(2), 1))),
        (0, "t", kv("a", "", (0, at(3), 0))),
    ];
    assert_eq!(hash(case, 0).await?.hash, expected(&rows));
    Ok(())
}

async fn of_the_whole_database(case: &mut Case) -> Result<()> {
    let before = case.hash(HashRequest {}).await?;
    assert_eq!(before.header, case.header(0));
    case.put(put("a", "1")).await?;
    let after = case.hash(HashRequest {}).await?;
    assert_ne!(before.hash, after.hash);
    assert_eq!(case.hash(HashRequest {}).await?.hash, after.hash);
    Ok(())
}

async fn of_a_compacted_revision(case: &mut Case) -> Result<()> {
    for _ in 0..3 {
        case.put(put("a", "")).await?;
    }
    case.compact(CompactionRequest {
        revision: case.start + 2,
        physical: true,
    })
    .await?;
    refused(
        hash(case, case.start + 1).await,
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
    )?;
    if !case.is_etcd_before(10) {
        hash(case, case.start + 2).await?;
    }
    Ok(())
}
