//! The promise: a member that was cut off, killed or restarted does not disturb the leader; a leader that is cut off
//! is replaced and knows it; and the lead can be handed on in a moment.

#![allow(clippy::indexing_slicing, reason = "a test")]

mod simulation;

use std::time::Duration;

use revkeep_store::{
    StoreError,
    raft::{Role, StopReason},
};
use simulation::Stage;

const SECOND: Duration = Duration::from_secs(1);

fn others(index: usize) -> Vec<usize> {
    (0..3).filter(|other| *other != index).collect()
}

#[test]
fn a_member_that_was_cut_off_comes_back_and_the_leader_stays() {
    for seed in 1..=3 {
        let mut stage = Stage::new(seed, 3, 0);
        let leader = stage.await_leader(&[0, 1, 2]);
        let term = stage.status(leader).unwrap().term;
        let follower = others(leader)[0];
        stage.isolate(follower);
        for second in 0..15 {
            stage
                .write(leader, &format!("while it is away {second}"))
                .unwrap();
            stage.run_for(SECOND);
        }
        let alone = stage.status(follower).unwrap();
        assert_eq!(alone.leader, None, "who hears of no leader says so");
        assert_eq!(alone.term, term, "a member that is alone begins no term");
        stage.heal();
        for second in 0..8 {
            stage.run_for(SECOND);
            let status = stage.status(leader).unwrap();
            assert_eq!(
                (status.role, status.term),
                (Role::Leader, term),
                "second {second}"
            );
        }
        assert_eq!(
            stage.status(follower).unwrap().leader,
            Some(stage.id(leader))
        );
        assert_eq!(stage.rows(follower), stage.rows(leader));
        assert_eq!(stage.rows(leader).len(), 15);
    }
}

#[test]
fn a_member_that_restarts_does_not_disturb_the_leader() {
    let mut stage = Stage::new(4, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    let term = stage.status(leader).unwrap().term;
    for turn in 0..6 {
        let follower = others(leader)[turn % 2];
        stage.kill(follower);
        stage.write(leader, &format!("turn {turn}")).unwrap();
        stage.run_for(SECOND * u32::try_from(turn % 3).unwrap());
        stage.start(follower);
        stage.run_for(SECOND * 2);
        let status = stage.status(leader).unwrap();
        assert_eq!(
            (status.role, status.term),
            (Role::Leader, term),
            "turn {turn}"
        );
    }
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_knows_it() {
    let mut stage = Stage::new(5, 3, 0);
    let old = stage.await_leader(&[0, 1, 2]);
    let term = stage.status(old).unwrap().term;
    stage.write(old, "before").unwrap();
    stage.isolate(old);
    let new = stage.await_leader(&others(old));
    stage.write(new, "meanwhile").unwrap();
    stage.run_for(SECOND);
    let status = stage.status(old).unwrap();
    assert_eq!((status.role, status.leader), (Role::Follower, None));
    let refused = stage.write(old, "into the void").unwrap_err();
    assert!(matches!(refused, StoreError::NoLeaderInTime), "{refused}");
    assert!(
        matches!(stage.read(old), Err(StoreError::Timeout)),
        "no stale read"
    );
    stage.heal();
    stage.run_until("the old leader follows", |stage| {
        stage.status(old).unwrap().leader == stage.status(new).unwrap().leader
    });
    assert!(stage.status(old).unwrap().term > term);
    assert_eq!(stage.read(old).unwrap(), 2);
    assert_eq!(stage.rows(old), ["before", "meanwhile"]);
}

#[test]
fn a_leader_whose_words_are_lost_one_way_is_replaced() {
    let mut stage = Stage::new(6, 3, 0);
    let old = stage.await_leader(&[0, 1, 2]);
    stage.mute(old);
    let new = stage.await_leader(&others(old));
    stage.write(new, "goes on").unwrap();
    stage.heal();
    stage.run_until("they agree", |stage| stage.rows(old) == ["goes on"]);
}

#[test]
fn the_lead_is_handed_on_in_a_moment_and_nothing_is_lost() {
    let mut stage = Stage::new(7, 3, 0);
    let mut leader = stage.await_leader(&[0, 1, 2]);
    stage.write(leader, "first").unwrap();
    for turn in 0..4 {
        let next = others(leader)[turn % 2];
        let (to, follower) = (stage.id(next), others(leader)[(turn + 1) % 2]);
        let term = stage.status(leader).unwrap().term;
        let took = stage.on(leader, move |handle, _| async move {
            let start = tokio::time::Instant::now();
            handle.transfer_leader(to).await.map(|()| start.elapsed())
        });
        let took = took.unwrap();
        assert!(
            took < Duration::from_millis(500),
            "turn {turn}: it took {took:?}"
        );
        assert_eq!(stage.await_leader(&[0, 1, 2]), next);
        assert_eq!(stage.status(next).unwrap().term, term + 1);
        stage.write(follower, &format!("turn {turn}")).unwrap();
        leader = next;
    }
    assert_eq!(stage.read(leader).unwrap(), 5);
    let follower = others(leader)[0];
    let to = stage.id(follower);
    let refused = stage.on(follower, move |handle, _| async move {
        handle.transfer_leader(to).await
    });
    assert!(matches!(refused, Err(StoreError::NotLeader)));
    let refused = stage.on(leader, |handle, _| async move {
        handle.transfer_leader(1).await
    });
    assert!(matches!(refused, Err(StoreError::BadLeaderTransferee)));
}

#[test]
fn requests_at_a_follower_reach_the_leader() {
    let mut stage = Stage::new(8, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    for (count, follower) in (1..).zip([0, 1, 2, 0, 1, 2]) {
        assert_eq!(
            stage.write(follower, &format!("write {count}")).unwrap(),
            count
        );
        assert_eq!(
            stage.read((follower + 1) % 3).unwrap(),
            count,
            "a read right after"
        );
    }
    // A follower alone neither writes nor reads.
    let follower = others(leader)[0];
    stage.isolate(follower);
    assert!(stage.write(follower, "alone").is_err());
    assert!(matches!(stage.read(follower), Err(StoreError::Timeout)));
}

#[test]
fn a_failed_sync_stops_the_member_and_only_it() {
    let mut stage = Stage::new(9, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    stage.write(leader, "good").unwrap();
    stage.world.seats[leader].disk().faults().fail_sync_from(1);
    // Not acknowledged by a member that could not keep it.
    assert!(stage.write(leader, "not kept").is_err());
    let reason = stage.stop_reason(leader);
    assert!(
        matches!(reason, Some(StopReason::Failed(StoreError::Disk { .. }))),
        "{reason:?}"
    );
    let next = stage.await_leader(&others(leader));
    stage.write(next, "goes on").unwrap();
    stage.kill(leader);
    stage.start(leader);
    stage.run_until("it is back", |stage| stage.rows(leader) == stage.rows(next));
    let refused = stage.on(leader, |handle, _| async move {
        let command = simulation::Journal::command("too large", 2 * 1024 * 1024);
        handle.propose(command, "", 0).await
    });
    assert!(matches!(refused, Err(StoreError::RequestTooLarge)));
}
