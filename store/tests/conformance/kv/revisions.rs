//! How revisions are given, and reads at them.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::revisions",
        [
            each_put_is_a_revision,
            reads_are_not,
            a_deletion_of_nothing_is_not,
            a_deletion_of_many_is_one,
            versions_count_from_the_creation,
            a_key_created_again,
            an_old_revision,
            before_the_first_put,
            after_a_deletion,
            a_range_at_an_old_revision,
            counting_at_an_old_revision,
            a_future_revision,
            a_future_revision_of_a_missing_key,
            a_negative_revision_is_now,
            the_header_tells_the_revision_now,
            one_past_now,
        ]
    )
}

async fn each_put_is_a_revision(case: &mut Case) -> Result<()> {
    for n in 1..4 {
        let answer = case.put(put("k", n.to_string())).await?;
        let expected = PutResponse {
            header: case.header(n),
            prev_kv: None,
        };
        assert_eq!(answer, expected);
    }
    Ok(())
}

async fn reads_are_not(case: &mut Case) -> Result<()> {
    case.range(all()).await?;
    case.txn(txn([get("k").op()])).await?;
    case.made(0).await
}

async fn a_deletion_of_nothing_is_not(case: &mut Case) -> Result<()> {
    let expected = DeleteRangeResponse {
        header: case.header(0),
        ..DeleteRangeResponse::default()
    };
    assert_eq!(case.delete_range(delete("none")).await?, expected);
    case.made(0).await
}

async fn a_deletion_of_many_is_one(case: &mut Case) -> Result<()> {
    for key in ["a", "b", "c"] {
        case.put(put(key, "")).await?;
    }
    case.delete_range(delete("a").range("z")).await?;
    case.made(4).await
}

async fn versions_count_from_the_creation(case: &mut Case) -> Result<()> {
    for value in ["1", "2", "3"] {
        case.put(put("k", value)).await?;
    }
    let expected = kv("k", "3", (case.start + 1, case.start + 3, 3));
    assert_eq!(case.range(get("k")).await?.kvs, [expected]);
    Ok(())
}

async fn a_key_created_again(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    case.put(put("k", "2")).await?;
    let expected = kv("k", "2", (case.start + 3, case.start + 3, 1));
    assert_eq!(case.range(get("k")).await?.kvs, [expected]);
    Ok(())
}

/// Reads `k` at so many revisions after the beginning.
async fn at(case: &Case, revisions: i64) -> Result<RangeResponse> {
    let ask = RangeRequest {
        revision: case.start + revisions,
        ..get("k")
    };
    Ok(case.range(ask).await?)
}

async fn an_old_revision(case: &mut Case) -> Result<()> {
    for value in ["1", "2", "3"] {
        case.put(put("k", value)).await?;
    }
    let expected = RangeResponse {
        header: case.header(3),
        kvs: vec![kv("k", "2", (case.start + 1, case.start + 2, 2))],
        more: false,
        count: 1,
    };
    assert_eq!(at(case, 2).await?, expected);
    Ok(())
}

async fn before_the_first_put(case: &mut Case) -> Result<()> {
    case.put(put("other", "")).await?;
    case.put(put("k", "")).await?;
    assert_eq!(at(case, 1).await?.count, 0);
    Ok(())
}

async fn after_a_deletion(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    case.put(put("k", "2")).await?;
    assert_eq!(at(case, 1).await?.count, 1);
    assert_eq!(at(case, 2).await?.count, 0);
    assert_eq!(at(case, 3).await?.count, 1);
    Ok(())
}

async fn a_range_at_an_old_revision(case: &mut Case) -> Result<()> {
    case.put(put("a", "1")).await?;
    case.put(put("b", "1")).await?;
    case.delete_range(delete("a")).await?;
    case.put(put("c", "1")).await?;
    let ask = RangeRequest {
        revision: case.start + 2,
        ..all()
    };
    let answer = case.range(ask).await?;
    let (a, b) = (case.start + 1, case.start + 2);
    assert_eq!(
        answer.kvs,
        [kv("a", "1", (a, a, 1)), kv("b", "1", (b, b, 1))]
    );
    Ok(())
}

async fn counting_at_an_old_revision(case: &mut Case) -> Result<()> {
    for key in ["a", "b", "c"] {
        case.put(put(key, "")).await?;
    }
    let ask = RangeRequest {
        revision: case.start + 2,
        count_only: true,
        ..all()
    };
    assert_eq!(case.range(ask).await?.count, 2);
    Ok(())
}

const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

async fn a_future_revision(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let ask = RangeRequest {
        revision: case.start + 100,
        ..get("k")
    };
    refused(case.range(ask).await, Code::OutOfRange, FUTURE)
}

async fn a_future_revision_of_a_missing_key(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        revision: i64::MAX,
        ..get("none")
    };
    refused(case.range(ask).await, Code::OutOfRange, FUTURE)
}

async fn one_past_now(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        revision: case.start + 1,
        ..all()
    };
    refused(case.range(ask).await, Code::OutOfRange, FUTURE)
}

async fn a_negative_revision_is_now(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let ask = RangeRequest {
        revision: -5,
        ..get("k")
    };
    assert_eq!(case.range(ask).await?.count, 1);
    Ok(())
}

async fn the_header_tells_the_revision_now(case: &mut Case) -> Result<()> {
    for _ in 0..3 {
        case.put(put("k", "")).await?;
    }
    assert_eq!(at(case, 1).await?.header, case.header(3));
    Ok(())
}
