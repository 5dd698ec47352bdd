//! Renewing leases.

use crate::suite::*;
use revkeep_schemas::etcd_api::etcdserverpb::lease_client::LeaseClient;

pub(crate) fn group() -> Group {
    group!(
        "lease::keep_alive",
        [
            it_is_answered,
            an_unknown_lease,
            several_on_one_stream,
            it_puts_the_end_off,
            one_that_ended,
        ]
    )
}

/// Renews leases on one stream, and returns the answers.
async fn renew(case: &Case, ids: &[i64]) -> Result<Vec<LeaseKeepAliveResponse>> {
    let mut client = LeaseClient::with_interceptor(case.channel.clone(), case.with.clone());
    let ids: Vec<_> = ids
        .iter()
        .map(|id| LeaseKeepAliveRequest { id: *id })
        .collect();
    let count = ids.len();
    let mut stream = client
        .lease_keep_alive(tokio_stream::iter(ids))
        .await?
        .into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = stream.message().await? {
        answers.push(answer);
    }
    ensure!(answers.len() == count, "{answers:?}");
    Ok(answers)
}

async fn grant(case: &Case, ttl: i64) -> Result<i64> {
    Ok(case.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.id)
}

async fn it_is_answered(case: &mut Case) -> Result<()> {
    let id = grant(case, 600).await?;
    let expected = LeaseKeepAliveResponse {
        header: case.header(0),
        id,
        ttl: 600,
    };
    assert_eq!(renew(case, &[id]).await?, [expected]);
    Ok(())
}

async fn an_unknown_lease(case: &mut Case) -> Result<()> {
    let expected = LeaseKeepAliveResponse {
        header: case.header(0),
        id: 0x7777,
        ttl: 0,
    };
    assert_eq!(renew(case, &[0x7777]).await?, [expected]);
    Ok(())
}

async fn several_on_one_stream(case: &mut Case) -> Result<()> {
    let (first, second) = (grant(case, 600).await?, grant(case, 700).await?);
    let answers = renew(case, &[second, 0x7777, first, second]).await?;
    let told: Vec<_> = answers
        .iter()
        .map(|answer| (answer.id, answer.ttl))
        .collect();
    assert_eq!(
        told,
        [(second, 700), (0x7777, 0), (first, 600), (second, 700)]
    );
    Ok(())
}

async fn it_puts_the_end_off(case: &mut Case) -> Result<()> {
    let id = grant(case, 3).await?;
    case.put(PutRequest {
        lease: id,
        ..put("k", "")
    })
    .await?;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(renew(case, &[id]).await?[0].ttl, 3);
    }
    assert_eq!(case.range(get("k")).await?.count, 1);
    Ok(())
}

async fn one_that_ended(case: &mut Case) -> Result<()> {
    let id = grant(case, 600).await?;
    case.lease_revoke(LeaseRevokeRequest { id }).await?;
    assert_eq!(renew(case, &[id]).await?[0].ttl, 0);
    Ok(())
}
