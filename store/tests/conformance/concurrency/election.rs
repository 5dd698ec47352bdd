//! The Election service.

use crate::suite::*;
use revkeep_schemas::etcd_api::v3electionpb::election_client::ElectionClient;
use revkeep_schemas::etcd_api::v3electionpb::*;

pub(crate) fn group() -> Group {
    group!(
        "concurrency::election",
        [
            winning_alone,
            who_leads,
            nobody_leads,
            waiting_for_the_one_before,
            the_one_before_loses_its_lease,
            saying_something_else,
            saying_something_after_losing,
            resigning,
            resigning_twice,
            watching_who_leads,
            campaigning_again,
            going_away_while_another_leads,
            without_a_leader_key,
            with_an_unknown_lease,
        ]
    )
}

async fn lease(case: &Case) -> Result<i64> {
    let ask = LeaseGrantRequest { ttl: 600, id: 0 };
    Ok(case.lease_grant(ask).await?.id)
}

fn campaign(lease: i64, value: &str) -> CampaignRequest {
    CampaignRequest {
        name: bytes("e"),
        lease,
        value: bytes(value),
    }
}

fn who() -> LeaderRequest {
    LeaderRequest { name: bytes("e") }
}

async fn win(case: &Case, value: &str) -> Result<LeaderKey> {
    let answer = case.campaign(campaign(lease(case).await?, value)).await?;
    answer.leader.context("no leader key")
}

async fn winning_alone(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    let answer = case.campaign(campaign(lease, "me")).await?;
    let key = bytes(format!("e/{lease:x}"));
    let expected = LeaderKey {
        name: bytes("e"),
        key: key.clone(),
        rev: case.start + 1,
        lease,
    };
    assert_eq!(answer.leader, Some(expected));
    assert_eq!(answer.header, case.header(1));
    let at = case.start + 1;
    let expected = mvccpb::KeyValue {
        lease,
        ..kv(key, "me", (at, at, 1))
    };
    assert_eq!(case.range(all()).await?.kvs, [expected]);
    Ok(())
}

async fn who_leads(case: &mut Case) -> Result<()> {
    let leader = win(case, "me").await?;
    let answer = case.leader(who()).await?;
    let kv = answer.kv.context("nobody")?;
    assert_eq!((kv.key, kv.value), (leader.key, bytes("me")));
    assert_eq!(answer.header, case.header(1));
    Ok(())
}

async fn nobody_leads(case: &mut Case) -> Result<()> {
    refused(
        case.leader(who()).await,
        Code::Unknown,
        "election: no leader",
    )
}

async fn waiting_for_the_one_before(case: &mut Case) -> Result<()> {
    let first = win(case, "first").await?;
    let second = lease(case).await?;
    let waiting = case.campaign(campaign(second, "second"));
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "two lead");
    case.resign(ResignRequest {
        leader: Some(first),
    })
    .await?;
    let won = tokio::time::timeout(Duration::from_secs(20), waiting).await??;
    let leader = won.leader.context("no leader key")?;
    assert_eq!((leader.lease, leader.rev), (second, case.start + 2));
    let kv = case.leader(who()).await?.kv.context("nobody")?;
    assert_eq!(kv.value, "second");
    Ok(())
}

async fn the_one_before_loses_its_lease(case: &mut Case) -> Result<()> {
    let first = win(case, "first").await?;
    let second = lease(case).await?;
    let winning = case.campaign(campaign(second, "second"));
    let losing = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        case.lease_revoke(LeaseRevokeRequest { id: first.lease })
            .await
    };
    let (won, _) = tokio::try_join!(winning, losing)?;
    assert_eq!(won.leader.context("no leader key")?.lease, second);
    Ok(())
}

async fn going_away_while_another_leads(case: &mut Case) -> Result<()> {
    let first = win(case, "first").await?;
    // It stood already, for it was cut off from the member that it asked before.
    let second = lease(case).await?;
    let key = bytes(format!("e/{second:x}"));
    let stands = PutRequest {
        lease: second,
        ..put(&key, "second")
    };
    case.put(stands).await?;
    let waiting = case.campaign(campaign(second, "second"));
    let early = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(early.is_err(), "two lead");
    // The call is cancelled: nobody stands any more.
    for _ in 0..200 {
        if case.range(get(&key)).await?.kvs.is_empty() {
            let kv = case.leader(who()).await?.kv.context("nobody")?;
            assert_eq!(kv.key, first.key);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("it still stands, with nobody behind it")
}

async fn saying_something_else(case: &mut Case) -> Result<()> {
    let leader = win(case, "one").await?;
    let ask = ProclaimRequest {
        leader: Some(leader),
        value: bytes("two"),
    };
    let answer = case.proclaim(ask).await?;
    assert_eq!(answer.header, case.header(2));
    let kv = case.leader(who()).await?.kv.context("nobody")?;
    assert_eq!((kv.value, kv.version), (bytes("two"), 2));
    Ok(())
}

async fn saying_something_after_losing(case: &mut Case) -> Result<()> {
    let leader = win(case, "one").await?;
    case.delete_range(delete(&leader.key)).await?;
    let ask = ProclaimRequest {
        leader: Some(leader),
        value: bytes("two"),
    };
    refused(
        case.proclaim(ask).await,
        Code::Unknown,
        "election: not leader",
    )
}

async fn resigning(case: &mut Case) -> Result<()> {
    let leader = win(case, "one").await?;
    let answer = case
        .resign(ResignRequest {
            leader: Some(leader),
        })
        .await?;
    assert_eq!(answer.header, case.header(2));
    assert_eq!(case.range(all()).await?.count, 0);
    Ok(())
}

async fn resigning_twice(case: &mut Case) -> Result<()> {
    let leader = win(case, "one").await?;
    for _ in 0..2 {
        let leader = Some(leader.clone());
        case.resign(ResignRequest { leader }).await?;
    }
    case.made(2).await
}

async fn watching_who_leads(case: &mut Case) -> Result<()> {
    let leader = win(case, "one").await?;
    let mut client = ElectionClient::new(case.channel.clone());
    let mut stream = client.observe(who()).await?.into_inner();
    let mut next = async || -> Result<_> {
        let answer = tokio::time::timeout(Duration::from_secs(20), stream.message()).await??;
        let kv = answer.context("it ended")?.kv.context("nobody")?;
        Ok(String::from_utf8(kv.value.to_vec())?)
    };
    assert_eq!(next().await?, "one");
    let ask = ProclaimRequest {
        leader: Some(leader.clone()),
        value: bytes("two"),
    };
    case.proclaim(ask).await?;
    assert_eq!(next().await?, "two");
    case.resign(ResignRequest {
        leader: Some(leader),
    })
    .await?;
    win(case, "three").await?;
    assert_eq!(next().await?, "three");
    Ok(())
}

async fn campaigning_again(case: &mut Case) -> Result<()> {
    let lease = lease(case).await?;
    let first = case.campaign(campaign(lease, "one")).await?;
    let second = case.campaign(campaign(lease, "two")).await?;
    // The same leadership, with another value.
    assert_eq!(first.leader, second.leader);
    let kv = case.leader(who()).await?.kv.context("nobody")?;
    assert_eq!((kv.value, kv.version), (bytes("two"), 2));
    Ok(())
}

// What these services refuse comes from etcd's own client inside the server, so it has no code of gRPC.
async fn without_a_leader_key(case: &mut Case) -> Result<()> {
    const REFUSAL: &str = "\"leader\" field must be provided";
    refused(
        case.resign(ResignRequest::default()).await,
        Code::Unknown,
        REFUSAL,
    )?;
    refused(
        case.proclaim(ProclaimRequest::default()).await,
        Code::Unknown,
        REFUSAL,
    )
}

async fn with_an_unknown_lease(case: &mut Case) -> Result<()> {
    refused(
        case.campaign(campaign(0x7777, "me")).await,
        Code::Unknown,
        "etcdserver: requested lease not found",
    )
}
