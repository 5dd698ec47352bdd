//! Deleting keys.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::delete",
        [
            one_key,
            a_missing_key,
            an_interval,
            from_a_key,
            every_key,
            with_the_previous,
            with_the_previous_of_one,
            with_the_previous_of_nothing,
            twice,
            an_empty_interval,
            a_leased_key_leaves_its_lease,
        ]
    )
}

async fn four(case: &Case) -> Result<()> {
    for key in ["a", "b", "c", "d"] {
        case.put(put(key, key)).await?;
    }
    Ok(())
}

async fn left(case: &Case) -> Result<String> {
    let answer = case.range(all()).await?;
    let keys = answer
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    Ok(keys.collect())
}

fn answer(case: &Case, deleted: i64) -> DeleteRangeResponse {
    DeleteRangeResponse {
        header: case.header(5),
        deleted,
        prev_kvs: vec![],
    }
}

async fn one_key(case: &mut Case) -> Result<()> {
    four(case).await?;
    assert_eq!(case.delete_range(delete("b")).await?, answer(case, 1));
    assert_eq!(left(case).await?, "acd");
    Ok(())
}

async fn a_missing_key(case: &mut Case) -> Result<()> {
    four(case).await?;
    let expected = DeleteRangeResponse {
        header: case.header(4),
        ..DeleteRangeResponse::default()
    };
    assert_eq!(case.delete_range(delete("bb")).await?, expected);
    Ok(())
}

async fn an_interval(case: &mut Case) -> Result<()> {
    four(case).await?;
    assert_eq!(
        case.delete_range(delete("b").range("d")).await?,
        answer(case, 2)
    );
    assert_eq!(left(case).await?, "ad");
    Ok(())
}

async fn from_a_key(case: &mut Case) -> Result<()> {
    four(case).await?;
    assert_eq!(
        case.delete_range(delete("b").range(b"\0")).await?,
        answer(case, 3)
    );
    assert_eq!(left(case).await?, "a");
    Ok(())
}

async fn every_key(case: &mut Case) -> Result<()> {
    four(case).await?;
    assert_eq!(
        case.delete_range(delete(b"\0").range(b"\0")).await?,
        answer(case, 4)
    );
    assert_eq!(left(case).await?, "");
    Ok(())
}

async fn with_the_previous(case: &mut Case) -> Result<()> {
    four(case).await?;
    let ask = DeleteRangeRequest {
        prev_kv: true,
        ..delete("b").range("d")
    };
    let (b, c) = (case.start + 2, case.start + 3);
    let expected = DeleteRangeResponse {
        prev_kvs: vec![kv("b", "b", (b, b, 1)), kv("c", "c", (c, c, 1))],
        ..answer(case, 2)
    };
    assert_eq!(case.delete_range(ask).await?, expected);
    Ok(())
}

async fn with_the_previous_of_one(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.put(put("k", "2")).await?;
    let ask = DeleteRangeRequest {
        prev_kv: true,
        ..delete("k")
    };
    let expected = DeleteRangeResponse {
        header: case.header(3),
        deleted: 1,
        prev_kvs: vec![kv("k", "2", (case.start + 1, case.start + 2, 2))],
    };
    assert_eq!(case.delete_range(ask).await?, expected);
    Ok(())
}

async fn with_the_previous_of_nothing(case: &mut Case) -> Result<()> {
    let ask = DeleteRangeRequest {
        prev_kv: true,
        ..delete("none")
    };
    let expected = DeleteRangeResponse {
        header: case.header(0),
        ..DeleteRangeResponse::default()
    };
    assert_eq!(case.delete_range(ask).await?, expected);
    Ok(())
}

async fn twice(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    assert_eq!(case.delete_range(delete("k")).await?.deleted, 1);
    assert_eq!(case.delete_range(delete("k")).await?.deleted, 0);
    case.made(2).await
}

async fn an_empty_interval(case: &mut Case) -> Result<()> {
    four(case).await?;
    let answer = case.delete_range(delete("c").range("b")).await?;
    assert_eq!((answer.deleted, answer.header), (0, case.header(4)));
    Ok(())
}

async fn a_leased_key_leaves_its_lease(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let lease = case.lease_grant(grant).await?.id;
    for key in ["a", "b"] {
        case.put(PutRequest {
            lease,
            ..put(key, "")
        })
        .await?;
    }
    case.delete_range(delete("a")).await?;
    let ask = LeaseTimeToLiveRequest {
        id: lease,
        keys: true,
    };
    assert_eq!(case.lease_time_to_live(ask).await?.keys, ["b"]);
    Ok(())
}
