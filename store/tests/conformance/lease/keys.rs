//! The keys of a lease.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "lease::keys",
        [
            they_are_listed,
            they_are_listed_only_on_request,
            ending_it_deletes_them,
            ending_it_is_one_revision,
            ending_it_without_keys_is_none,
            moving_to_another_lease,
            a_key_that_was_deleted_and_put_again,
            attached_in_a_transaction,
            the_key_shows_its_lease,
        ]
    )
}

async fn grant(case: &Case) -> Result<i64> {
    let ask = LeaseGrantRequest { ttl: 600, id: 0 };
    Ok(case.lease_grant(ask).await?.id)
}

fn leased(key: &str, lease: i64) -> PutRequest {
    PutRequest {
        lease,
        ..put(key, "")
    }
}

async fn keys(case: &Case, id: i64) -> Result<Vec<String>> {
    let ask = LeaseTimeToLiveRequest { id, keys: true };
    let answer = case.lease_time_to_live(ask).await?;
    let mut keys: Vec<_> = answer
        .keys
        .iter()
        .map(|key| String::from_utf8_lossy(key).into_owned())
        .collect();
    // etcd lists them in the order of a hash map.
    keys.sort();
    Ok(keys)
}

async fn they_are_listed(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    for key in ["b", "a", "b"] {
        case.put(leased(key, lease)).await?;
    }
    assert_eq!(keys(case, lease).await?, ["a", "b"]);
    Ok(())
}

async fn they_are_listed_only_on_request(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    case.put(leased("a", lease)).await?;
    let ask = LeaseTimeToLiveRequest {
        id: lease,
        keys: false,
    };
    assert!(case.lease_time_to_live(ask).await?.keys.is_empty());
    Ok(())
}

async fn ending_it_deletes_them(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    case.put(leased("a", lease)).await?;
    case.put(put("b", "")).await?;
    let answer = case.lease_revoke(LeaseRevokeRequest { id: lease }).await?;
    assert_eq!(answer.header, case.header(3));
    let left = case.range(all()).await?.kvs;
    assert_eq!(left, [kv("b", "", (case.start + 2, case.start + 2, 1))]);
    Ok(())
}

async fn ending_it_is_one_revision(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    for key in ["a", "b", "c"] {
        case.put(leased(key, lease)).await?;
    }
    case.lease_revoke(LeaseRevokeRequest { id: lease }).await?;
    case.made(4).await
}

async fn ending_it_without_keys_is_none(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    case.put(leased("a", lease)).await?;
    case.delete_range(delete("a")).await?;
    case.lease_revoke(LeaseRevokeRequest { id: lease }).await?;
    case.made(2).await
}

async fn moving_to_another_lease(case: &mut Case) -> Result<()> {
    let (first, second) = (grant(case).await?, grant(case).await?);
    case.put(leased("a", first)).await?;
    case.put(leased("a", second)).await?;
    assert_eq!(keys(case, first).await?, [""; 0]);
    assert_eq!(keys(case, second).await?, ["a"]);
    case.lease_revoke(LeaseRevokeRequest { id: first }).await?;
    assert_eq!(case.range(all()).await?.count, 1);
    Ok(())
}

async fn a_key_that_was_deleted_and_put_again(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    case.put(leased("a", lease)).await?;
    case.delete_range(delete("a")).await?;
    case.put(put("a", "")).await?;
    case.lease_revoke(LeaseRevokeRequest { id: lease }).await?;
    assert_eq!(case.range(all()).await?.count, 1);
    case.made(3).await
}

async fn attached_in_a_transaction(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    case.txn(txn([leased("a", lease).op(), leased("b", lease).op()]))
        .await?;
    assert_eq!(keys(case, lease).await?, ["a", "b"]);
    Ok(())
}

async fn the_key_shows_its_lease(case: &mut Case) -> Result<()> {
    let lease = grant(case).await?;
    case.put(leased("a", lease)).await?;
    assert_eq!(case.range(get("a")).await?.kvs[0].lease, lease);
    Ok(())
}
