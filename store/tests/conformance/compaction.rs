//! Forgetting history. Each case has a server of its own: what is forgotten stays so.

use crate::suite::*;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        group!(
            "compaction",
            [
                of_the_past,
                makes_no_revision,
                reads_at_the_compacted_revision,
                reads_below_it,
                at_the_revision_now,
                in_the_future,
                at_zero,
                at_a_negative_revision,
                twice,
                below_an_earlier_one,
                physical,
                keeps_what_lives,
                counts_go_on,
                a_key_deleted_at_the_compacted_revision,
                inside_a_transaction_reads_below_it,
                survives_a_restart,
                hashes_stay,
            ]
        )
        .alone(),
        group!("compaction::by_itself", [what_is_old_is_forgotten])
            .alone()
            .flag("--auto-compaction-mode=periodic")
            .flag("--auto-compaction-retention=2s"),
        group!("compaction::by_itself_in_three", [all_forget_the_same])
            .alone()
            .members(3)
            .flag("--auto-compaction-mode=periodic")
            .flag("--auto-compaction-retention=2s"),
    ]
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// `k` written so often.
async fn writes(case: &Case, count: i64) -> Result<()> {
    for n in 1..=count {
        case.put(put("k", n.to_string())).await?;
    }
    Ok(())
}

fn at(revision: i64) -> CompactionRequest {
    CompactionRequest {
        revision,
        physical: false,
    }
}

async fn read(case: &Case, revision: i64) -> Result<RangeResponse, tonic::Status> {
    case.range(RangeRequest {
        revision,
        ..get("k")
    })
    .await
}

async fn of_the_past(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    let expected = CompactionResponse {
        header: case.header(5),
    };
    assert_eq!(case.compact(at(case.start + 3)).await?, expected);
    Ok(())
}

async fn makes_no_revision(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(at(case.start + 3)).await?;
    case.made(5).await
}

async fn reads_at_the_compacted_revision(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(at(case.start + 3)).await?;
    let expected = kv("k", "3", (case.start + 1, case.start + 3, 3));
    assert_eq!(read(case, case.start + 3).await?.kvs, [expected]);
    Ok(())
}

async fn reads_below_it(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(at(case.start + 3)).await?;
    for revision in [case.start + 2, 1] {
        refused(read(case, revision).await, Code::OutOfRange, COMPACTED)?;
    }
    Ok(())
}

async fn at_the_revision_now(case: &mut Case) -> Result<()> {
    writes(case, 3).await?;
    case.compact(at(case.start + 3)).await?;
    assert_eq!(read(case, 0).await?.count, 1);
    assert_eq!(read(case, case.start + 3).await?.count, 1);
    refused(
        read(case, case.start + 2).await,
        Code::OutOfRange,
        COMPACTED,
    )
}

async fn in_the_future(case: &mut Case) -> Result<()> {
    writes(case, 3).await?;
    refused(
        case.compact(at(case.start + 4)).await,
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    )
}

async fn at_zero(case: &mut Case) -> Result<()> {
    writes(case, 3).await?;
    // Never compacted is -1, so 0 is not yet compacted.
    case.compact(at(0)).await?;
    refused(case.compact(at(0)).await, Code::OutOfRange, COMPACTED)?;
    assert_eq!(read(case, case.start + 1).await?.count, 1);
    Ok(())
}

async fn at_a_negative_revision(case: &mut Case) -> Result<()> {
    writes(case, 3).await?;
    refused(case.compact(at(-1)).await, Code::OutOfRange, COMPACTED)
}

async fn twice(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(at(case.start + 3)).await?;
    refused(
        case.compact(at(case.start + 3)).await,
        Code::OutOfRange,
        COMPACTED,
    )?;
    case.compact(at(case.start + 4)).await?;
    Ok(())
}

async fn below_an_earlier_one(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(at(case.start + 3)).await?;
    refused(
        case.compact(at(case.start + 2)).await,
        Code::OutOfRange,
        COMPACTED,
    )
}

async fn physical(case: &mut Case) -> Result<()> {
    writes(case, 200).await?;
    let ask = CompactionRequest {
        revision: case.start + 200,
        physical: true,
    };
    let expected = CompactionResponse {
        header: case.header(200),
    };
    assert_eq!(case.compact(ask).await?, expected);
    assert_eq!(read(case, 0).await?.count, 1);
    Ok(())
}

async fn keeps_what_lives(case: &mut Case) -> Result<()> {
    for key in ["a", "b", "c"] {
        case.put(put(key, "1")).await?;
    }
    case.delete_range(delete("b")).await?;
    writes(case, 1).await?;
    case.compact(at(case.start + 4)).await?;
    let (a, c, k) = (case.start + 1, case.start + 3, case.start + 5);
    let expected = [
        kv("a", "1", (a, a, 1)),
        kv("c", "1", (c, c, 1)),
        kv("k", "1", (k, k, 1)),
    ];
    assert_eq!(case.range(all()).await?.kvs, expected);
    Ok(())
}

async fn counts_go_on(case: &mut Case) -> Result<()> {
    writes(case, 3).await?;
    case.compact(at(case.start + 3)).await?;
    writes(case, 1).await?;
    let expected = kv("k", "1", (case.start + 1, case.start + 4, 4));
    assert_eq!(read(case, 0).await?.kvs, [expected]);
    Ok(())
}

async fn a_key_deleted_at_the_compacted_revision(case: &mut Case) -> Result<()> {
    writes(case, 1).await?;
    case.delete_range(delete("k")).await?;
    writes(case, 1).await?;
    case.compact(at(case.start + 2)).await?;
    assert_eq!(read(case, case.start + 2).await?.count, 0);
    let created = case.start + 3;
    let expected = kv("k", "1", (created, created, 1));
    assert_eq!(read(case, 0).await?.kvs, [expected]);
    Ok(())
}

async fn inside_a_transaction_reads_below_it(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(at(case.start + 3)).await?;
    let old = RangeRequest {
        revision: case.start + 2,
        ..get("k")
    };
    let ask = txn([put("other", "").op(), old.clone().op()]);
    refused(case.txn(ask).await, Code::OutOfRange, COMPACTED)?;
    refused(case.txn(txn([old.op()])).await, Code::OutOfRange, COMPACTED)?;
    case.made(5).await
}

async fn survives_a_restart(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    case.compact(CompactionRequest {
        revision: case.start + 3,
        physical: true,
    })
    .await?;
    case.members_mut()?[0].restart().await?;
    let case = case.at(0).await?;
    refused(
        read(&case, case.start + 2).await,
        Code::OutOfRange,
        COMPACTED,
    )?;
    assert_eq!(read(&case, case.start + 3).await?.count, 1);
    case.made(5).await
}

async fn hashes_stay(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    let hash = |revision| case.hash_kv(HashKvRequest { revision });
    let (compacted, last) = (case.start + 3, case.start + 5);
    case.compact(CompactionRequest {
        revision: compacted,
        physical: true,
    })
    .await?;
    let before = hash(last).await?;
    assert_eq!(before.compact_revision, compacted);
    case.put(put("later", "")).await?;
    let after = hash(last).await?;
    assert_eq!(
        (before.hash, before.compact_revision),
        (after.hash, after.compact_revision)
    );
    refused(hash(compacted - 1).await, Code::OutOfRange, COMPACTED)
}

/// Waits until a revision is forgotten.
async fn forgotten(case: &Case, revision: i64) -> Result<()> {
    for _ in 0..600 {
        if let Err(status) = read(case, revision).await {
            return refused(Err::<(), _>(status), Code::OutOfRange, COMPACTED);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("revision {revision} is kept for ever")
}

async fn what_is_old_is_forgotten(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    let at = case.start + 5;
    forgotten(case, at - 1).await?;
    // Now and every later time it stops at what is the newest by then.
    let expected = kv("k", "5", (case.start + 1, at, 5));
    assert_eq!(read(case, at).await?.kvs, [expected]);
    writes(case, 2).await?;
    forgotten(case, at).await?;
    assert_eq!(read(case, at + 2).await?.kvs[0].value, "2");
    case.made(7).await
}

async fn all_forget_the_same(case: &mut Case) -> Result<()> {
    writes(case, 5).await?;
    let at = case.start + 5;
    for member in 0..3 {
        let there = case.at(member).await?;
        forgotten(&there, at - 1).await?;
        assert_eq!(read(&there, at).await?.kvs[0].value, "5");
    }
    case.made(5).await
}
