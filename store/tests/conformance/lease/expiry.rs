//! Leases that nobody renews.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "lease::expiry",
        [
            its_keys_go_in_one_revision,
            it_is_gone,
            it_does_not_go_early,
            it_lasts_over_a_restart,
        ]
    )
}

async fn grant(case: &Case, ttl: i64) -> Result<i64> {
    Ok(case.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.id)
}

fn leased(key: &str, lease: i64) -> PutRequest {
    PutRequest {
        lease,
        ..put(key, "")
    }
}

async fn its_keys_go_in_one_revision(case: &mut Case) -> Result<()> {
    let lease = grant(case, 1).await?;
    case.txn(txn(["c", "a", "b"].map(|key| leased(key, lease).op())))
        .await?;
    let ask = WatchCreateRequest {
        start_revision: case.start + 2,
        ..watch(b"\0").range(b"\0")
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    let at = case.start + 2;
    let expected = ["a", "b", "c"].map(|key| deleted(key, at));
    assert_eq!(stream.next().await?.events, expected);
    case.made(2).await
}

async fn it_is_gone(case: &mut Case) -> Result<()> {
    let id = grant(case, 1).await?;
    for _ in 0..200 {
        let ask = LeaseTimeToLiveRequest { id, keys: false };
        let answer = case.lease_time_to_live(ask).await?;
        if answer.granted_ttl == 0 {
            assert_eq!(answer.ttl, -1);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the lease is still there")
}

async fn it_does_not_go_early(case: &mut Case) -> Result<()> {
    let started = tokio::time::Instant::now();
    let lease = grant(case, 2).await?;
    case.put(leased("k", lease)).await?;
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.next().await?;
    assert!(started.elapsed() >= Duration::from_secs(2));
    Ok(())
}

async fn it_lasts_over_a_restart(case: &mut Case) -> Result<()> {
    let (long, short) = (grant(case, 600).await?, grant(case, 1).await?);
    case.put(leased("long", long)).await?;
    case.put(leased("short", short)).await?;
    case.members_mut()?[0].restart().await?;
    let case = case.at(0).await?;
    let ask = WatchCreateRequest {
        start_revision: case.start + 3,
        ..watch("short")
    };
    let mut stream = WatchStream::watching(&case, ask).await?;
    assert_eq!(
        stream.next().await?.events,
        [deleted("short", case.start + 3)]
    );
    let ask = LeaseTimeToLiveRequest {
        id: long,
        keys: true,
    };
    let answer = case.lease_time_to_live(ask).await?;
    assert_eq!(
        (answer.granted_ttl, answer.keys),
        (600, vec![bytes("long")])
    );
    Ok(())
}
