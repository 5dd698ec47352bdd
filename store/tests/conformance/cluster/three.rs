//! Three members.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "cluster::three",
        [
            every_member_takes_writes,
            every_member_reads_what_was_written,
            a_watch_at_another_member,
            a_lease_at_another_member,
            a_lease_is_renewed_anywhere,
            all_have_the_same_hash,
            moving_the_leader,
            moving_the_leader_is_for_the_leader,
            they_agree_on_who_leads,
        ]
    )
    .members(3)
}

/// Two of them are gone.
pub(crate) fn broken() -> Group {
    group!("cluster::no_quorum", [what_still_works])
        .members(3)
        .alone()
}

async fn every_member_takes_writes(case: &mut Case) -> Result<()> {
    for member in 0..3 {
        let there = case.at(member).await?;
        let answer = there.put(put(format!("k{member}"), "")).await?;
        let header = answer.header.context("an answer without header")?;
        assert_eq!(header.revision, case.start + 1 + i64::try_from(member)?);
        assert_eq!(header.cluster_id, case.cluster_id());
    }
    assert_eq!(case.range(all()).await?.count, 3);
    Ok(())
}

async fn every_member_reads_what_was_written(case: &mut Case) -> Result<()> {
    for n in 1..20 {
        let writer = case.at(n % 3).await?;
        let reader = case.at((n + 1) % 3).await?;
        writer.put(put("k", n.to_string())).await?;
        let read = reader.range(get("k")).await?;
        assert_eq!(read.kvs[0].value, n.to_string());
    }
    Ok(())
}

async fn a_watch_at_another_member(case: &mut Case) -> Result<()> {
    for member in 0..3 {
        let mut stream = WatchStream::watching(&case.at(member).await?, watch("k")).await?;
        case.at((member + 1) % 3).await?.put(put("k", "")).await?;
        assert_eq!(stream.next().await?.events.len(), 1);
    }
    Ok(())
}

async fn a_lease_at_another_member(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let id = case.at(0).await?.lease_grant(grant).await?.id;
    for member in 0..3 {
        let there = case.at(member).await?;
        let answer = there
            .lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true })
            .await?;
        assert_eq!(answer.granted_ttl, 600);
        assert!((590..=600).contains(&answer.ttl), "{answer:?}");
    }
    case.at(2)
        .await?
        .lease_revoke(LeaseRevokeRequest { id })
        .await?;
    Ok(())
}

async fn a_lease_is_renewed_anywhere(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let id = case.lease_grant(grant).await?.id;
    for member in &*case.members {
        let mut client = member.client().await?;
        let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
        keeper.keep_alive().await?;
        let answer = answers.message().await?.context("no answer")?;
        assert_eq!((answer.id(), answer.ttl()), (id, 600));
    }
    Ok(())
}

async fn all_have_the_same_hash(case: &mut Case) -> Result<()> {
    for n in 0..30 {
        let there = case.at(n % 3).await?;
        there.put(put(format!("k{}", n % 7), n.to_string())).await?;
    }
    let revision = case.revision().await?;
    let mut hashes = Vec::new();
    for member in 0..3 {
        let there = case.at(member).await?;
        there.range(all()).await?;
        let answer = there.hash_kv(HashKvRequest { revision }).await?;
        hashes.push((answer.hash, answer.compact_revision));
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 1, "{hashes:?}");
    Ok(())
}

/// The ids of the members, in the order of their names, and the index of the leader.
async fn leader(case: &Case) -> Result<(Vec<u64>, usize)> {
    // Whoever has just heard of another leader knows it first.
    for _ in 0..200 {
        let mut ids = Vec::new();
        let mut leader = 0;
        for member in 0..3 {
            let status = case.at(member).await?.status(StatusRequest {}).await?;
            ids.push(status.header.context("an answer without header")?.member_id);
            leader = status.leader;
        }
        if let Some(index) = ids.iter().position(|id| *id == leader) {
            return Ok((ids, index));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("no leader")
}

async fn moving_the_leader(case: &mut Case) -> Result<()> {
    let (ids, index) = leader(case).await?;
    let next = (index + 1) % 3;
    let ask = MoveLeaderRequest {
        target_id: ids[next],
    };
    case.at(index).await?.move_leader(ask).await?;
    // The one who led answers when it has heard of the new one.
    let status = case.at(index).await?.status(StatusRequest {}).await?;
    assert_eq!(status.leader, ids[next]);
    case.at(index).await?.put(put("k", "")).await?;
    Ok(())
}

async fn moving_the_leader_is_for_the_leader(case: &mut Case) -> Result<()> {
    let (ids, index) = leader(case).await?;
    let other = (index + 1) % 3;
    let ask = MoveLeaderRequest {
        target_id: ids[other],
    };
    refused(
        case.at(other).await?.move_leader(ask).await,
        Code::FailedPrecondition,
        "etcdserver: not leader",
    )
}

async fn they_agree_on_who_leads(case: &mut Case) -> Result<()> {
    // Whoever has just heard of another leader knows it first.
    for _ in 0..200 {
        let mut told = Vec::new();
        for member in 0..3 {
            let status = case.at(member).await?.status(StatusRequest {}).await?;
            told.push((status.leader, status.raft_term));
        }
        told.dedup();
        if told.len() == 1 && told[0].0 != 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("they do not agree")
}

async fn what_still_works(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    let strict = case.with("hasleader", "true")?;
    let mut stream = WatchStream::watching(&strict, watch("k")).await?;
    drop(strict);
    let members = case.members_mut()?;
    members[1].kill()?;
    members[2].kill()?;
    // Local reads do.
    let local = RangeRequest {
        serializable: true,
        ..get("k")
    };
    assert_eq!(case.range(local).await?.count, 1);
    // Whoever wants a leader is told that there is none, and streams end.
    let strict = case.with("hasleader", "true")?;
    let mut refusal = String::new();
    for _ in 0..600 {
        if let Err(status) = strict
            .range(RangeRequest {
                serializable: true,
                ..get("k")
            })
            .await
        {
            assert_eq!(status.code(), Code::Unavailable);
            status.message().clone_into(&mut refusal);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(refusal, "etcdserver: no leader");
    let ended = stream.next().await.err().context("the watch goes on")?;
    let ended = ended.downcast::<tonic::Status>()?;
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::Unavailable, "etcdserver: no leader")
    );
    // Others wait, and are told that it took too long.
    let (read, write) = tokio::join!(case.range(get("k")), case.put(put("k", "w")));
    refused(read, Code::Unavailable, "etcdserver: request timed out")?;
    let code = if case.is_etcd_before(5) {
        Code::Unknown
    } else {
        Code::DeadlineExceeded
    };
    refused(write, code, "context deadline exceeded")
}
