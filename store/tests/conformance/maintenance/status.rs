//! What a member tells of itself, and its defragmentation.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "maintenance::status",
        [
            it_is_complete,
            indexes_go_up,
            defragmenting,
            moving_the_leader_to_nobody,
            moving_the_leader_to_itself,
            an_unknown_downgrade,
        ]
    )
}

async fn it_is_complete(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    let status = case.status(StatusRequest {}).await?;
    assert_eq!(status.header, case.header(1));
    assert!(status.version.starts_with("3.5."), "{}", status.version);
    assert_eq!(status.leader, case.member_id());
    assert_eq!(status.raft_term, case.term());
    assert!(status.raft_index > 0 && status.raft_applied_index > 0);
    assert!(status.raft_applied_index <= status.raft_index);
    assert!(status.db_size > 0);
    assert!(
        (1..=status.db_size).contains(&status.db_size_in_use),
        "{status:?}"
    );
    assert_eq!(status.errors, [""; 0]);
    assert!(!status.is_learner);
    Ok(())
}

async fn indexes_go_up(case: &mut Case) -> Result<()> {
    let before = case.status(StatusRequest {}).await?;
    for _ in 0..3 {
        case.put(put("k", "")).await?;
    }
    let after = case.status(StatusRequest {}).await?;
    assert!(after.raft_applied_index > before.raft_applied_index);
    assert_eq!(after.header, case.header(3));
    Ok(())
}

async fn defragmenting(case: &mut Case) -> Result<()> {
    let value = vec![b'v'; 100_000];
    for _ in 0..100 {
        case.put(put("k", &value)).await?;
    }
    let at = case.start + 100;
    case.compact(CompactionRequest {
        revision: at,
        physical: true,
    })
    .await?;
    let before = case.status(StatusRequest {}).await?.db_size;
    let answer = case.defragment(DefragmentRequest {}).await?;
    assert_eq!(answer, DefragmentResponse::default());
    let after = case.status(StatusRequest {}).await?.db_size;
    assert!(after < before / 2, "{before} bytes before, {after} after");
    assert_eq!(case.range(get("k")).await?.kvs[0].value, value);
    case.put(put("k", "")).await?;
    case.made(101).await
}

async fn moving_the_leader_to_nobody(case: &mut Case) -> Result<()> {
    let ask = MoveLeaderRequest { target_id: 4711 };
    refused(
        case.move_leader(ask).await,
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee",
    )
}

async fn moving_the_leader_to_itself(case: &mut Case) -> Result<()> {
    let ask = MoveLeaderRequest {
        target_id: case.member_id(),
    };
    case.move_leader(ask).await?;
    Ok(())
}

async fn an_unknown_downgrade(case: &mut Case) -> Result<()> {
    let ask = DowngradeRequest {
        action: downgrade_request::DowngradeAction::Validate.into(),
        version: "not a version".into(),
    };
    refused(
        case.downgrade(ask).await,
        Code::InvalidArgument,
        "etcdserver: wrong downgrade target version format",
    )
}
