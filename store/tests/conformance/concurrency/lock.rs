//! The Lock service.

use crate::suite::*;
use revkeep_schemas::etcd_api::v3lockpb::*;

pub(crate) fn group() -> Group {
    group!(
        "concurrency::lock",
        [
            taking_it,
            waiting_for_it,
            a_lease_that_ends_frees_it,
            taking_it_again_with_the_same_lease,
            without_a_lease,
            freeing_what_is_not_held,
            other_names_do_not_wait,
            with_an_unknown_lease,
        ]
    )
}

async fn lease(case: &Case) -> Result<i64> {
    let ask = LeaseGrantRequest { ttl: 600, id: 0 };
    Ok(case.lease_grant(ask).await?.id)
}

fn take(name: &str, lease: i64) -> LockRequest {
    LockRequest {
        name: bytes(name),
        lease,
    }
}

async fn taking_it(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    let expected = LockResponse {
        header: case.header(1),
        key: bytes(format!("l/{lease:x}")),
    };
    let answer = case.lock(take("l", lease)).await?;
    assert_eq!(answer, expected);
    let at = case.start + 1;
    let held = mvccpb::KeyValue {
        lease,
        ..kv(&answer.key, "", (at, at, 1))
    };
    assert_eq!(case.range(all()).await?.kvs, [held]);
    let free = UnlockRequest { key: answer.key };
    let expected = UnlockResponse {
        header: case.header(2),
    };
    assert_eq!(case.unlock(free).await?, expected);
    Ok(())
}

async fn waiting_for_it(case: &mut Case) -> Result<()> {
    let held = case.lock(take("l", lease(case).await?)).await?;
    let second = lease(case).await?;
    let waiting = case.lock(take("l", second));
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "two hold it");
    case.unlock(UnlockRequest { key: held.key }).await?;
    let got = tokio::time::timeout(Duration::from_secs(20), waiting).await??;
    assert_eq!(got.key, format!("l/{second:x}"));
    Ok(())
}

async fn a_lease_that_ends_frees_it(case: &mut Case) -> Result<()> {
    let first = lease(case).await?;
    case.lock(take("l", first)).await?;
    let second = lease(case).await?;
    let taking = case.lock(take("l", second));
    let ending = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        case.lease_revoke(LeaseRevokeRequest { id: first }).await
    };
    let (got, _) = tokio::try_join!(taking, ending)?;
    assert_eq!(got.key, format!("l/{second:x}"));
    Ok(())
}

async fn taking_it_again_with_the_same_lease(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    let first = case.lock(take("l", lease)).await?;
    let second = case.lock(take("l", lease)).await?;
    assert_eq!(first.key, second.key);
    case.made(1).await
}

async fn without_a_lease(case: &mut Case) -> Result<()> {
    // The server makes one, of a minute.
    let answer = case.lock(take("l", 0)).await?;
    let held = case.range(get(&answer.key)).await?.kvs;
    let ask = LeaseTimeToLiveRequest {
        id: held[0].lease,
        keys: true,
    };
    let lease = case.lease_time_to_live(ask).await?;
    assert_eq!(
        (lease.granted_ttl, &lease.keys[..]),
        (60, &[answer.key][..])
    );
    Ok(())
}

async fn freeing_what_is_not_held(case: &mut Case) -> Result<()> {
    let ask = UnlockRequest {
        key: bytes("l/none"),
    };
    let expected = UnlockResponse {
        header: case.header(0),
    };
    assert_eq!(case.unlock(ask).await?, expected);
    Ok(())
}

async fn other_names_do_not_wait(case: &mut Case) -> Result<()> {
    for name in ["l", "m", "l2"] {
        let lease = lease(case).await?;
        let got = tokio::time::timeout(Duration::from_secs(20), case.lock(take(name, lease)));
        got.await??;
    }
    Ok(())
}

async fn with_an_unknown_lease(case: &mut Case) -> Result<()> {
    refused(
        case.lock(take("l", 0x7777)).await,
        Code::Unknown,
        "etcdserver: requested lease not found",
    )
}
