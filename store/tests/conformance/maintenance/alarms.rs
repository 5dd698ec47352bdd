//! Alarms: raised by hand, and by the quota.

use crate::suite::*;
use alarm_request::AlarmAction;

pub(crate) fn group() -> Group {
    group!(
        "maintenance::alarms",
        [
            none,
            raising_and_clearing,
            raising_twice,
            clearing_what_is_not_raised,
            no_space_refuses_what_needs_room,
            no_space_allows_what_gives_room,
            corrupt_refuses_every_write,
            it_is_seen_in_the_status,
            it_lasts_over_a_restart,
        ]
    )
    .alone()
}

/// With a small quota.
pub(crate) fn quota() -> Group {
    group!("maintenance::quota", [the_quota_raises_it])
        .alone()
        .flag("--quota-backend-bytes=4194304")
}

/// The same on each of three members.
pub(crate) fn quota_of_three() -> Group {
    group!(
        "maintenance::quota_of_three",
        [one_full_member_stops_them_all]
    )
    .members(3)
    .alone()
    .flag("--quota-backend-bytes=4194304")
}

fn ask(action: AlarmAction, member_id: u64, alarm: AlarmType) -> AlarmRequest {
    AlarmRequest {
        action: action.into(),
        member_id,
        alarm: alarm.into(),
    }
}

async fn raised(case: &Case) -> Result<Vec<AlarmMember>> {
    let list = ask(AlarmAction::Get, 0, AlarmType::None);
    Ok(case.alarm(list).await?.alarms)
}

fn of(member_id: u64, alarm: AlarmType) -> AlarmMember {
    AlarmMember {
        member_id,
        alarm: alarm.into(),
    }
}

async fn raise(case: &Case, alarm: AlarmType) -> Result<AlarmResponse> {
    let raise = ask(AlarmAction::Activate, case.member_id(), alarm);
    Ok(case.alarm(raise).await?)
}

async fn clear(case: &Case, alarm: AlarmType) -> Result<AlarmResponse> {
    let clear = ask(AlarmAction::Deactivate, case.member_id(), alarm);
    Ok(case.alarm(clear).await?)
}

async fn none(case: &mut Case) -> Result<()> {
    let list = ask(AlarmAction::Get, 0, AlarmType::None);
    let expected = AlarmResponse {
        header: case.header(0),
        alarms: vec![],
    };
    assert_eq!(case.alarm(list).await?, expected);
    Ok(())
}

async fn raising_and_clearing(case: &mut Case) -> Result<()> {
    let alarm = of(case.member_id(), AlarmType::Nospace);
    let expected = AlarmResponse {
        header: case.header(0),
        alarms: vec![alarm],
    };
    assert_eq!(raise(case, AlarmType::Nospace).await?, expected);
    assert_eq!(raised(case).await?, [alarm]);
    assert_eq!(clear(case, AlarmType::Nospace).await?, expected);
    assert_eq!(raised(case).await?, []);
    Ok(())
}

async fn raising_twice(case: &mut Case) -> Result<()> {
    raise(case, AlarmType::Nospace).await?;
    let alarm = of(case.member_id(), AlarmType::Nospace);
    assert_eq!(raise(case, AlarmType::Nospace).await?.alarms, [alarm]);
    assert_eq!(raised(case).await?, [alarm]);
    Ok(())
}

async fn clearing_what_is_not_raised(case: &mut Case) -> Result<()> {
    assert_eq!(clear(case, AlarmType::Nospace).await?.alarms, []);
    Ok(())
}

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

async fn no_space_refuses_what_needs_room(case: &mut Case) -> Result<()> {
    raise(case, AlarmType::Nospace).await?;
    let refusal = |outcome| refused(outcome, Code::ResourceExhausted, NO_SPACE);
    refusal(case.put(put("k", "")).await)?;
    refused(
        case.txn(txn([put("k", "").op()])).await,
        Code::ResourceExhausted,
        NO_SPACE,
    )?;
    refused(
        case.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await,
        Code::ResourceExhausted,
        NO_SPACE,
    )?;
    clear(case, AlarmType::Nospace).await?;
    case.put(put("k", "")).await?;
    case.made(1).await
}

async fn no_space_allows_what_gives_room(case: &mut Case) -> Result<()> {
    for key in ["a", "b"] {
        case.put(put(key, "")).await?;
    }
    raise(case, AlarmType::Nospace).await?;
    assert_eq!(case.range(all()).await?.count, 2);
    assert_eq!(case.delete_range(delete("a")).await?.deleted, 1);
    case.txn(txn([delete("b").op(), get("a").op()])).await?;
    case.compact(CompactionRequest {
        revision: case.start + 3,
        physical: false,
    })
    .await?;
    case.made(4).await
}

async fn corrupt_refuses_every_write(case: &mut Case) -> Result<()> {
    const CORRUPT: &str = "etcdserver: corrupt cluster";
    case.put(put("k", "")).await?;
    raise(case, AlarmType::Corrupt).await?;
    refused(case.put(put("k", "")).await, Code::DataLoss, CORRUPT)?;
    refused(
        case.delete_range(delete("k")).await,
        Code::DataLoss,
        CORRUPT,
    )?;
    refused(
        case.txn(txn([put("k", "").op()])).await,
        Code::DataLoss,
        CORRUPT,
    )?;
    refused(
        case.compact(CompactionRequest {
            revision: case.start + 1,
            physical: false,
        })
        .await,
        Code::DataLoss,
        CORRUPT,
    )?;
    refused(
        case.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await,
        Code::DataLoss,
        CORRUPT,
    )?;
    assert_eq!(case.range(get("k")).await?.count, 1);
    clear(case, AlarmType::Corrupt).await?;
    case.put(put("k", "")).await?;
    Ok(())
}

async fn it_is_seen_in_the_status(case: &mut Case) -> Result<()> {
    raise(case, AlarmType::Nospace).await?;
    let errors = case.status(StatusRequest {}).await?.errors;
    let expected = format!("memberID:{} alarm:NOSPACE ", case.member_id());
    assert_eq!(errors, [expected]);
    Ok(())
}

async fn it_lasts_over_a_restart(case: &mut Case) -> Result<()> {
    raise(case, AlarmType::Nospace).await?;
    case.members_mut()?[0].relaunch().await?;
    let case = case.at(0).await?;
    let alarm = of(case.member_id(), AlarmType::Nospace);
    assert_eq!(raised(&case).await?, [alarm]);
    refused(
        case.put(put("k", "")).await,
        Code::ResourceExhausted,
        NO_SPACE,
    )
}

/// Puts large values to the members in turn until there is no room.
async fn fill(members: &[&Case]) -> Result<()> {
    let value = vec![b'v'; 1 << 18];
    let mut refusal = None;
    for member in members.iter().cycle().take(100) {
        if let Err(status) = member.put(put("k", &value)).await {
            refusal = Some(status);
            break;
        }
    }
    refused(
        refusal.map_or(Ok(()), Err),
        Code::ResourceExhausted,
        NO_SPACE,
    )
}

async fn the_quota_raises_it(case: &mut Case) -> Result<()> {
    fill(&[&*case]).await?;
    // Found full only when it was applied, the member raises the alarm by itself.
    let alarm = of(case.member_id(), AlarmType::Nospace);
    for _ in 0..200 {
        if !raised(case).await?.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(raised(case).await?, [alarm]);
    // Room is made as etcd's manual says: compact, defragment, disarm.
    let at = case.revision().await?;
    case.compact(CompactionRequest {
        revision: at,
        physical: true,
    })
    .await?;
    case.defragment(DefragmentRequest {}).await?;
    clear(case, AlarmType::Nospace).await?;
    case.put(put("k", "small")).await?;
    assert_eq!(case.revision().await?, at + 1);
    Ok(())
}

async fn one_full_member_stops_them_all(case: &mut Case) -> Result<()> {
    let members = [case.at(0).await?, case.at(1).await?, case.at(2).await?];
    fill(&members.each_ref()).await?;
    // Whoever found it full tells the others, which then refuse what there was room for.
    for member in &members {
        for _ in 0..200 {
            if !member.status(StatusRequest {}).await?.errors.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        refused(
            member.put(put("k", "")).await,
            Code::ResourceExhausted,
            NO_SPACE,
        )?;
        refused(
            member
                .lease_grant(LeaseGrantRequest { ttl: 60, id: 0 })
                .await,
            Code::ResourceExhausted,
            NO_SPACE,
        )?;
        assert_eq!(member.range(get("k")).await?.count, 1);
    }
    let at = case.revision().await?;
    case.compact(CompactionRequest {
        revision: at,
        physical: true,
    })
    .await?;
    for member in &members {
        // The rows leave each member in its own time, and only then there is something to give back.
        for _ in 0..200 {
            member.defragment(DefragmentRequest {}).await?;
            if member.status(StatusRequest {}).await?.db_size < 2 << 20 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for alarm in raised(case).await? {
        assert_eq!(alarm.alarm(), AlarmType::Nospace);
        let clear = ask(AlarmAction::Deactivate, alarm.member_id, alarm.alarm());
        assert_eq!(case.alarm(clear).await?.alarms, [alarm]);
    }
    assert_eq!(raised(case).await?, []);
    for member in &members {
        member.put(put("k", "small")).await?;
    }
    assert_eq!(case.revision().await?, at + 3);
    Ok(())
}
