//! What a put can be asked for.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::put",
        [
            the_previous_of_a_new_key,
            the_previous_of_a_key,
            the_previous_of_a_deleted_key,
            keeping_the_value,
            keeping_the_value_of_a_missing_key,
            keeping_a_value_and_giving_one,
            keeping_the_lease,
            keeping_the_lease_of_a_missing_key,
            keeping_a_lease_and_giving_one,
            keeping_both,
            losing_the_lease,
            an_unknown_lease,
            an_unknown_lease_makes_no_revision,
            the_previous_shows_its_lease,
        ]
    )
}

async fn the_previous_of_a_new_key(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        prev_kv: true,
        ..put("k", "1")
    };
    let expected = PutResponse {
        header: case.header(1),
        prev_kv: None,
    };
    assert_eq!(case.put(ask).await?, expected);
    Ok(())
}

async fn the_previous_of_a_key(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.put(put("k", "2")).await?;
    let ask = PutRequest {
        prev_kv: true,
        ..put("k", "3")
    };
    let expected = PutResponse {
        header: case.header(3),
        prev_kv: Some(kv("k", "2", (case.start + 1, case.start + 2, 2))),
    };
    assert_eq!(case.put(ask).await?, expected);
    Ok(())
}

async fn the_previous_of_a_deleted_key(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    let ask = PutRequest {
        prev_kv: true,
        ..put("k", "2")
    };
    assert_eq!(case.put(ask).await?.prev_kv, None);
    Ok(())
}

async fn keeping_the_value(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let ask = PutRequest {
        ignore_value: true,
        ..put("k", "")
    };
    case.put(ask).await?;
    let expected = kv("k", "1", (case.start + 1, case.start + 2, 2));
    assert_eq!(case.range(get("k")).await?.kvs, [expected]);
    Ok(())
}

async fn keeping_the_value_of_a_missing_key(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        ignore_value: true,
        ..put("none", "")
    };
    refused(
        case.put(ask).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    )?;
    case.made(0).await
}

async fn keeping_a_value_and_giving_one(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        ignore_value: true,
        ..put("k", "v")
    };
    refused(
        case.put(ask).await,
        Code::InvalidArgument,
        "etcdserver: value is provided",
    )
}

async fn lease(case: &Case) -> Result<i64> {
    let ask = LeaseGrantRequest { ttl: 600, id: 0 };
    Ok(case.lease_grant(ask).await?.id)
}

async fn keeping_the_lease(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    case.put(PutRequest {
        lease,
        ..put("k", "1")
    })
    .await?;
    case.put(PutRequest {
        ignore_lease: true,
        ..put("k", "2")
    })
    .await?;
    let expected = mvccpb::KeyValue {
        lease,
        ..kv("k", "2", (case.start + 1, case.start + 2, 2))
    };
    assert_eq!(case.range(get("k")).await?.kvs, [expected]);
    Ok(())
}

async fn keeping_the_lease_of_a_missing_key(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        ignore_lease: true,
        ..put("none", "v")
    };
    refused(
        case.put(ask).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    )
}

async fn keeping_a_lease_and_giving_one(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        ignore_lease: true,
        lease: 7,
        ..put("k", "v")
    };
    refused(
        case.put(ask).await,
        Code::InvalidArgument,
        "etcdserver: lease is provided",
    )
}

async fn keeping_both(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    case.put(PutRequest {
        lease,
        ..put("k", "1")
    })
    .await?;
    case.put(PutRequest {
        ignore_lease: true,
        ignore_value: true,
        ..put("k", "")
    })
    .await?;
    let expected = mvccpb::KeyValue {
        lease,
        ..kv("k", "1", (case.start + 1, case.start + 2, 2))
    };
    assert_eq!(case.range(get("k")).await?.kvs, [expected]);
    Ok(())
}

async fn losing_the_lease(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    case.put(PutRequest {
        lease,
        ..put("k", "1")
    })
    .await?;
    case.put(put("k", "2")).await?;
    assert_eq!(case.range(get("k")).await?.kvs[0].lease, 0);
    let ask = LeaseTimeToLiveRequest {
        id: lease,
        keys: true,
    };
    assert!(case.lease_time_to_live(ask).await?.keys.is_empty());
    Ok(())
}

async fn an_unknown_lease(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        lease: 0x7777,
        ..put("k", "v")
    };
    refused(
        case.put(ask).await,
        Code::NotFound,
        "etcdserver: requested lease not found",
    )
}

async fn an_unknown_lease_makes_no_revision(case: &mut Case) -> Result<()> {
    let ask = PutRequest {
        lease: 0x7777,
        ..put("k", "v")
    };
    assert!(case.put(ask).await.is_err());
    assert_eq!(case.range(all()).await?.count, 0);
    case.made(0).await
}

async fn the_previous_shows_its_lease(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    case.put(PutRequest {
        lease,
        ..put("k", "1")
    })
    .await?;
    let ask = PutRequest {
        prev_kv: true,
        ..put("k", "2")
    };
    let expected = mvccpb::KeyValue {
        lease,
        ..kv("k", "1", (case.start + 1, case.start + 1, 1))
    };
    assert_eq!(case.put(ask).await?.prev_kv, Some(expected));
    Ok(())
}
