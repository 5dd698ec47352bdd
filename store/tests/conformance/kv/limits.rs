//! Limit, `more`, and count.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::limits",
        [
            a_limit_below_the_count,
            a_limit_at_the_count,
            a_limit_above_the_count,
            no_limit,
            a_negative_limit_is_no_limit,
            count_only,
            count_only_with_a_limit,
            count_only_of_one_key,
            count_only_of_nothing,
            paging,
            a_limit_with_keys_only,
            a_limit_at_an_old_revision,
        ]
    )
}

/// Five keys `k0` to `k4`, and what a range over them says: their keys, `more` and the count.
async fn says(case: &Case, ask: RangeRequest) -> Result<(Vec<String>, bool, i64)> {
    for n in 0..5 {
        case.put(put(format!("k{n}"), "v")).await?;
    }
    tells(case, ask).await
}

async fn tells(case: &Case, ask: RangeRequest) -> Result<(Vec<String>, bool, i64)> {
    let answer = case.range(ask).await?;
    let keys = answer
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    Ok((keys.collect(), answer.more, answer.count))
}

fn limit(limit: i64) -> RangeRequest {
    RangeRequest { limit, ..all() }
}

fn names(numbers: std::ops::Range<i32>) -> Vec<String> {
    numbers.map(|n| format!("k{n}")).collect()
}

async fn a_limit_below_the_count(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, limit(2)).await?, (names(0..2), true, 5));
    Ok(())
}

async fn a_limit_at_the_count(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, limit(5)).await?, (names(0..5), false, 5));
    Ok(())
}

async fn a_limit_above_the_count(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, limit(6)).await?, (names(0..5), false, 5));
    Ok(())
}

async fn no_limit(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, limit(0)).await?, (names(0..5), false, 5));
    Ok(())
}

async fn a_negative_limit_is_no_limit(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, limit(-1)).await?, (names(0..5), false, 5));
    Ok(())
}

async fn count_only(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        count_only: true,
        ..all()
    };
    assert_eq!(says(case, ask).await?, (vec![], false, 5));
    Ok(())
}

async fn count_only_with_a_limit(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        count_only: true,
        limit: 2,
        ..all()
    };
    assert_eq!(says(case, ask).await?, (vec![], false, 5));
    Ok(())
}

async fn count_only_of_one_key(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        count_only: true,
        ..get("k3")
    };
    assert_eq!(says(case, ask).await?, (vec![], false, 1));
    Ok(())
}

async fn count_only_of_nothing(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        count_only: true,
        ..get("none")
    };
    assert_eq!(says(case, ask).await?, (vec![], false, 0));
    Ok(())
}

async fn paging(case: &mut Case) -> Result<()> {
    says(case, all()).await?;
    let page = |from: &str| RangeRequest {
        limit: 2,
        ..get(from).range(b"\0")
    };
    assert_eq!(tells(case, page("k0")).await?, (names(0..2), true, 5));
    assert_eq!(tells(case, page("k1\0")).await?, (names(2..4), true, 3));
    assert_eq!(tells(case, page("k3\0")).await?, (names(4..5), false, 1));
    Ok(())
}

async fn a_limit_with_keys_only(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        keys_only: true,
        ..limit(1)
    };
    assert_eq!(says(case, ask).await?, (names(0..1), true, 5));
    Ok(())
}

async fn a_limit_at_an_old_revision(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        revision: case.start + 3,
        ..limit(2)
    };
    assert_eq!(says(case, ask).await?, (names(0..2), true, 3));
    Ok(())
}
