//! Adding, promoting, updating and removing members.

use crate::suite::*;
use revkeep_harness::{Etcd, EtcdCluster, EtcdOptions, free_port};

pub(crate) fn group() -> Group {
    group!(
        "cluster::changes",
        [
            a_learner_is_listed,
            a_learner_that_never_started_is_not_promoted,
            one_learner_at_a_time,
            a_learner_is_removed,
            peer_urls_are_updated,
            a_learner_joins_and_is_promoted,
            a_learner_answers_only_local_reads,
            a_voter_joins_and_leaves,
        ]
    )
    .alone()
}

fn learner(url: &str) -> MemberAddRequest {
    MemberAddRequest {
        peer_ur_ls: vec![url.to_owned()],
        is_learner: true,
    }
}

async fn members(case: &Case) -> Result<Vec<Member>> {
    let ask = MemberListRequest { linearizable: true };
    Ok(case.member_list(ask).await?.members)
}

/// Waits between two changes: etcd drops one that comes a moment after the one before ("possible unapplied conf change"),
/// and its client waits for ever.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn a_learner_is_listed(case: &mut Case) -> Result<()> {
    let answer = case.member_add(learner("http://127.0.0.1:1")).await?;
    let urls = vec!["http://127.0.0.1:1".to_owned()];
    let member = answer.member.context("no member")?;
    let expected = Member {
        id: member.id,
        peer_ur_ls: urls,
        is_learner: true,
        ..Member::default()
    };
    assert_eq!(member, expected);
    let mut ids: Vec<_> = answer.members.iter().map(|member| member.id).collect();
    let listed: Vec<_> = members(case)
        .await?
        .iter()
        .map(|member| member.id)
        .collect();
    assert_eq!(ids, listed);
    assert!(ids.is_sorted());
    ids.retain(|id| *id != member.id);
    assert_eq!(ids, [case.member_id()]);
    // A learner does not count: alone, the voter still writes.
    case.put(put("k", "")).await?;
    Ok(())
}

async fn a_learner_that_never_started_is_not_promoted(case: &mut Case) -> Result<()> {
    let added = case.member_add(learner("http://127.0.0.1:1")).await?;
    let id = added.member.context("no member")?.id;
    refused(
        case.member_promote(MemberPromoteRequest { id }).await,
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
    )
}

async fn one_learner_at_a_time(case: &mut Case) -> Result<()> {
    case.member_add(learner("http://127.0.0.1:1")).await?;
    refused(
        case.member_add(learner("http://127.0.0.1:2")).await,
        Code::FailedPrecondition,
        "etcdserver: too many learner members in cluster",
    )
}

async fn a_learner_is_removed(case: &mut Case) -> Result<()> {
    let added = case.member_add(learner("http://127.0.0.1:1")).await?;
    let id = added.member.context("no member")?.id;
    settle().await;
    let answer = case.member_remove(MemberRemoveRequest { id }).await?;
    assert_eq!(answer.members.len(), 1);
    settle().await;
    refused(
        case.member_remove(MemberRemoveRequest { id }).await,
        Code::NotFound,
        "etcdserver: member not found",
    )
}

async fn peer_urls_are_updated(case: &mut Case) -> Result<()> {
    let added = case.member_add(learner("http://127.0.0.1:1")).await?;
    let id = added.member.context("no member")?.id;
    settle().await;
    let ask = MemberUpdateRequest {
        id,
        peer_ur_ls: vec!["http://127.0.0.1:3".into()],
    };
    let answer = case.member_update(ask).await?;
    let updated = answer.members.iter().find(|member| member.id == id);
    assert_eq!(
        updated.context("it is gone")?.peer_ur_ls,
        ["http://127.0.0.1:3"]
    );
    Ok(())
}

/// Starts a member that was added.
async fn join(case: &Case, is_learner: bool) -> Result<(u64, Etcd)> {
    let ports = (free_port()?, free_port()?);
    let url = format!("http://127.0.0.1:{}", ports.1);
    let ask = MemberAddRequest {
        peer_ur_ls: vec![url.clone()],
        is_learner,
    };
    let id = case.member_add(ask).await?.member.context("no member")?.id;
    let first = format!("default={}", case.members[0].peer_url());
    let options = EtcdOptions {
        name: "second".into(),
        initial_cluster: Some(format!("{first},second={url}")),
        ports: Some(ports),
        flags: vec![
            "--initial-cluster-state=existing".into(),
            "--heartbeat-interval=20".into(),
            "--election-timeout=200".into(),
        ],
        ..EtcdOptions::default()
    };
    let mut cluster = EtcdCluster::launch(&case.version, [options])?;
    let member = cluster.members.pop().context("no member")?;
    Ok((id, member))
}

async fn promoted(case: &Case, id: u64) -> Result<MemberPromoteResponse> {
    for _ in 0..400 {
        match case.member_promote(MemberPromoteRequest { id }).await {
            Ok(answer) => return Ok(answer),
            Err(status) if status.message().contains("in sync") => {}
            Err(status) => return Err(status.into()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the learner never caught up")
}

async fn a_learner_joins_and_is_promoted(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    let (id, mut second) = join(case, true).await?;
    let answer = promoted(case, id).await?;
    assert!(answer.members.iter().all(|member| !member.is_learner));
    second.healthy().await?;
    let read = second.client().await?.get("k", None).await?;
    assert_eq!(read.kvs()[0].value(), b"v");
    let listed = members(case).await?;
    let found = listed.into_iter().find(|member| member.id == id);
    let found = found.context("it is not listed")?;
    let told = (found.name, found.client_ur_ls);
    assert_eq!(told, ("second".to_owned(), second.endpoints()));
    Ok(())
}

const REFUSAL: &str = "etcdserver: rpc not supported for learner";

async fn a_learner_answers_only_local_reads(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    let (_, second) = join(case, true).await?;
    let learner = case.to(&second).await?;
    let local = RangeRequest {
        serializable: true,
        ..get("k")
    };
    let mut seen = 0;
    for _ in 0..400 {
        seen = case_range(&learner, local.clone()).await;
        if seen == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen, 1);
    refused(learner.range(get("k")).await, Code::Unavailable, REFUSAL)?;
    refused(learner.put(put("k", "")).await, Code::Unavailable, REFUSAL)?;
    refused(
        learner
            .lease_grant(LeaseGrantRequest { ttl: 60, id: 0 })
            .await,
        Code::Unavailable,
        REFUSAL,
    )?;
    assert!(learner.status(StatusRequest {}).await?.is_learner);
    Ok(())
}

async fn case_range(case: &Case, ask: RangeRequest) -> i64 {
    case.range(ask).await.map_or(0, |answer| answer.count)
}

async fn a_voter_joins_and_leaves(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    // A voter that is added takes the majority with it, so what the cluster must agree on first is waited for.
    while !http(case, "GET", "/version", "")
        .await?
        .body
        .contains("3.5.0")
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (id, mut second) = join(case, false).await?;
    second.healthy().await?;
    second.client().await?.put("k", "w", None).await?;
    // A cluster is not changed again before its members have been together for a while.
    let mut answer = case.member_remove(MemberRemoveRequest { id }).await;
    for _ in 0..200 {
        match &answer {
            Err(status) if status.message() == "etcdserver: unhealthy cluster" => {}
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = case.member_remove(MemberRemoveRequest { id }).await;
    }
    assert_eq!(answer?.members.len(), 1);
    case.put(put("k", "x")).await?;
    case.made(3).await
}
