//! Making, describing, listing and ending leases.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "lease::grant",
        [
            the_server_chooses_an_id,
            an_own_id,
            an_id_that_is_taken,
            an_id_can_be_taken_again,
            a_negative_id,
            the_shortest_time,
            no_time,
            a_negative_time,
            the_longest_time,
            too_long_a_time,
            it_makes_no_revision,
            the_time_that_is_left,
            of_an_unknown_one,
            ending_one,
            ending_an_unknown_one,
            ending_one_twice,
        ]
    )
}

/// Those that see every lease.
pub(crate) fn alone() -> Group {
    group!("lease::list", [none, several, without_those_that_ended]).alone()
}

async fn grant(case: &Case, id: i64, ttl: i64) -> Result<LeaseGrantResponse, tonic::Status> {
    case.lease_grant(LeaseGrantRequest { ttl, id }).await
}

async fn revoke(case: &Case, id: i64) -> Result<LeaseRevokeResponse, tonic::Status> {
    case.lease_revoke(LeaseRevokeRequest { id }).await
}

async fn describe(case: &Case, id: i64, keys: bool) -> Result<LeaseTimeToLiveResponse> {
    let ask = LeaseTimeToLiveRequest { id, keys };
    Ok(case.lease_time_to_live(ask).await?)
}

async fn the_server_chooses_an_id(case: &mut Case) -> Result<()> {
    let first = grant(case, 0, 600).await?;
    let expected = LeaseGrantResponse {
        header: case.header(0),
        id: first.id,
        ttl: 600,
        error: String::new(),
    };
    assert_eq!(first, expected);
    assert!(first.id > 0);
    assert_ne!(grant(case, 0, 600).await?.id, first.id);
    Ok(())
}

async fn an_own_id(case: &mut Case) -> Result<()> {
    let expected = LeaseGrantResponse {
        header: case.header(0),
        id: 1001,
        ttl: 600,
        error: String::new(),
    };
    assert_eq!(grant(case, 1001, 600).await?, expected);
    Ok(())
}

async fn an_id_that_is_taken(case: &mut Case) -> Result<()> {
    grant(case, 1002, 600).await?;
    refused(
        grant(case, 1002, 60).await,
        Code::FailedPrecondition,
        "etcdserver: lease already exists",
    )?;
    assert_eq!(describe(case, 1002, false).await?.granted_ttl, 600);
    Ok(())
}

async fn an_id_can_be_taken_again(case: &mut Case) -> Result<()> {
    grant(case, 1003, 600).await?;
    revoke(case, 1003).await?;
    assert_eq!(grant(case, 1003, 60).await?.ttl, 60);
    Ok(())
}

async fn a_negative_id(case: &mut Case) -> Result<()> {
    assert_eq!(grant(case, -7, 600).await?.id, -7);
    assert_eq!(describe(case, -7, false).await?.granted_ttl, 600);
    Ok(())
}

async fn the_shortest_time(case: &mut Case) -> Result<()> {
    // 1.5 times the election timeout (200 ms here), in whole seconds.
    assert_eq!(grant(case, 0, 1).await?.ttl, 1);
    Ok(())
}

async fn no_time(case: &mut Case) -> Result<()> {
    assert_eq!(grant(case, 0, 0).await?.ttl, 1);
    Ok(())
}

async fn a_negative_time(case: &mut Case) -> Result<()> {
    assert_eq!(grant(case, 0, -5).await?.ttl, 1);
    Ok(())
}

/// The longest time that etcd grants, in seconds.
const LONGEST: i64 = 9_000_000_000;

async fn the_longest_time(case: &mut Case) -> Result<()> {
    assert_eq!(grant(case, 0, LONGEST).await?.ttl, LONGEST);
    Ok(())
}

async fn too_long_a_time(case: &mut Case) -> Result<()> {
    refused(
        grant(case, 0, LONGEST + 1).await,
        Code::OutOfRange,
        "etcdserver: too large lease TTL",
    )
}

async fn it_makes_no_revision(case: &mut Case) -> Result<()> {
    let id = grant(case, 0, 600).await?.id;
    revoke(case, id).await?;
    case.made(0).await
}

async fn the_time_that_is_left(case: &mut Case) -> Result<()> {
    let id = grant(case, 0, 600).await?.id;
    let mut answer = describe(case, id, true).await?;
    assert!((590..=600).contains(&answer.ttl), "{answer:?}");
    answer.ttl = 600;
    let expected = LeaseTimeToLiveResponse {
        header: case.header(0),
        id,
        ttl: 600,
        granted_ttl: 600,
        keys: vec![],
    };
    assert_eq!(answer, expected);
    Ok(())
}

async fn of_an_unknown_one(case: &mut Case) -> Result<()> {
    let expected = LeaseTimeToLiveResponse {
        header: case.header(0),
        id: 0x7777,
        ttl: -1,
        ..LeaseTimeToLiveResponse::default()
    };
    assert_eq!(describe(case, 0x7777, true).await?, expected);
    Ok(())
}

async fn ending_one(case: &mut Case) -> Result<()> {
    let id = grant(case, 0, 600).await?.id;
    let expected = LeaseRevokeResponse {
        header: case.header(0),
    };
    assert_eq!(revoke(case, id).await?, expected);
    assert_eq!(describe(case, id, false).await?.ttl, -1);
    Ok(())
}

const NOT_FOUND: &str = "etcdserver: requested lease not found";

async fn ending_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(revoke(case, 0x7777).await, Code::NotFound, NOT_FOUND)?;
    refused(revoke(case, 0).await, Code::NotFound, NOT_FOUND)
}

async fn ending_one_twice(case: &mut Case) -> Result<()> {
    let id = grant(case, 0, 600).await?.id;
    revoke(case, id).await?;
    refused(revoke(case, id).await, Code::NotFound, NOT_FOUND)
}

async fn list(case: &Case) -> Result<Vec<i64>> {
    let answer = case.lease_leases(LeaseLeasesRequest {}).await?;
    assert_eq!(answer.header, case.header(0));
    Ok(answer.leases.iter().map(|lease| lease.id).collect())
}

async fn none(case: &mut Case) -> Result<()> {
    assert_eq!(list(case).await?, [0; 0]);
    Ok(())
}

async fn several(case: &mut Case) -> Result<()> {
    // Sorted by the end of their time.
    for (id, ttl) in [(30, 300), (10, 700), (20, 500)] {
        grant(case, id, ttl).await?;
    }
    assert_eq!(list(case).await?, [30, 20, 10]);
    Ok(())
}

async fn without_those_that_ended(case: &mut Case) -> Result<()> {
    grant(case, 1, 600).await?;
    grant(case, 2, 700).await?;
    revoke(case, 1).await?;
    assert_eq!(list(case).await?, [2]);
    Ok(())
}
