//! The promise: a member that was cut off, killed or restarted does not disturb the leader; a leader that is cut off
//! is replaced and knows it; and the lead can be handed on in a moment.

#![allow(clippy::indexing_slicing, reason = "a test")]

mod simulation;

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use revkeep_schemas::etcd_api::etcdserverpb::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse};
use revkeep_store::{
    Result, StoreError,
    raft::{Lead, LeaderDuties, Role, StopReason},
};
use simulation::Stage;
use tokio::time::{sleep, timeout};

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
fn what_a_leader_still_writes_is_with_the_others_and_nobody_takes_it_for_agreed_on() {
    for seed in 1..=5 {
        let mut stage = Stage::new(seed, 3, 0);
        let leader = stage.await_leader(&[0, 1, 2]);
        stage.write(leader, "before").unwrap();
        stage.run_for(SECOND);
        stage.world.seats[leader].slowness.set(SECOND * 7 / 10);
        let last = stage.status(leader).unwrap().last;
        let answered = stage.begin_write(leader, "slow");
        stage.run_until("the others have it", |stage| {
            let mut others = others(leader).into_iter();
            others.all(|other| stage.status(other).unwrap().last > last)
        });
        stage.run_for(SECOND / 10);
        for index in 0..3 {
            assert_eq!(stage.rows(index), ["before"], "m{index}, seed {seed}");
        }
        assert!(!answered.load(Ordering::SeqCst), "seed {seed}");
        stage.run_until("its disk has it", |_| answered.load(Ordering::SeqCst));
        stage.run_until("all have it", |stage| {
            (0..3).all(|index| stage.rows(index) == ["before", "slow"])
        });
    }
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced_and_nothing_is_lost() {
    for seed in 1..=5 {
        let mut stage = Stage::new(seed, 3, 0);
        let old = stage.await_leader(&[0, 1, 2]);
        stage.write(old, "before").unwrap();
        stage.world.seats[old].slowness.set(SECOND * 30);
        let answered = stage.begin_write(old, "hanging");
        let new = stage.await_leader(&others(old));
        stage.write(new, "after").unwrap();
        assert!(!answered.load(Ordering::SeqCst), "seed {seed}");
        // What it had only begun to write goes with its power.
        stage.kill(old);
        stage.world.seats[old].slowness.set(Duration::ZERO);
        stage.start(old);
        stage.write(new, "at last").unwrap();
        stage.run_until("they agree", |stage| {
            let rows = stage.rows(new);
            rows.ends_with(&["after".to_owned(), "at last".to_owned()])
                && (0..3).all(|index| stage.rows(index) == rows)
        });
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

#[test]
fn a_dead_leader_is_missed_for_no_longer_than_in_etcd() {
    let mut total = Duration::ZERO;
    let runs: u32 = 10;
    for seed in 0..runs {
        let mut stage = Stage::new(100 + u64::from(seed), 3, 0);
        let leader = stage.await_leader(&[0, 1, 2]);
        stage.write(leader, "before").unwrap();
        stage.run_for(SECOND * 3 + Duration::from_millis(70 * u64::from(seed)));
        stage.kill(leader);
        let before = stage.elapsed();
        stage.await_leader(&others(leader));
        total += stage.elapsed().saturating_sub(before);
    }
    // The first of two followers stands 1.33 elections' times after it last heard of the leader, on average; but two may
    // stand at once, and have to begin anew.
    let mean = total / runs;
    assert!(mean < Duration::from_millis(1_700), "on average {mean:?}");
}

#[test]
fn a_hand_over_that_nobody_waits_for_leaves_a_leader_that_takes_commands() {
    let mut stage = Stage::new(11, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    stage.write(leader, "before").unwrap();
    stage.run_for(SECOND);
    let gone = others(leader)[0];
    let to = stage.id(gone);
    stage.isolate(gone);
    let gave_up = stage.on(leader, move |handle, _| async move {
        let asked = handle.transfer_leader(to);
        timeout(Duration::from_millis(100), asked).await.is_err()
    });
    assert!(gave_up);
    stage.write(leader, "after").unwrap();
}

#[test]
fn commands_behind_one_whose_client_has_gone_are_taken() {
    let mut stage = Stage::new(12, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    let large = simulation::Journal::command("a client that goes", 1_200_000);
    let small = simulation::Journal::command("a client that stays", 10);
    let taken = stage.on(leader, |handle, _| async move {
        let mut gone = Box::pin(handle.propose(large, "", 0));
        assert!(futures::poll!(gone.as_mut()).is_pending());
        drop(gone);
        timeout(SECOND, handle.propose(small, "", 0)).await
    });
    taken.unwrap().unwrap();
    assert_eq!(stage.rows(leader), ["a client that stays"]);
}

#[test]
fn nothing_is_kept_of_a_client_that_has_gone() {
    let mut stage = Stage::new(13, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    let alone = others(leader)[0];
    stage.isolate(alone);
    stage.run_for(SECOND * 2);
    let command = simulation::Journal::command("goes", 10);
    let (while_there, after) = stage.on(alone, |handle, _| async move {
        let asked = handle.propose(command, "", 0);
        let there = async {
            sleep(Duration::from_millis(100)).await;
            handle.status().pending
        };
        let there = tokio::select! {
            _ = asked => unreachable!("there is no leader"),
            there = there => there,
        };
        (there, handle.status().pending)
    });
    assert_eq!((while_there, after), (1, 0));
}

/// Keeps what a member is told about itself.
#[derive(Default)]
struct Told(OnceLock<Arc<dyn Lead>>);

#[async_trait]
impl LeaderDuties for Told {
    fn set_lead(&self, lead: Arc<dyn Lead>) {
        let _ = self.0.set(lead);
    }

    async fn renew_lease(&self, _: i64) -> Result<i64> {
        Err(StoreError::NotPrimary)
    }

    async fn lease_time_to_live(
        &self,
        _: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse> {
        Err(StoreError::NotPrimary)
    }
}

#[test]
fn a_leader_that_is_cut_off_is_not_certain_to_lead_from_that_moment_on() {
    let mut stage = Stage::new(14, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    let follower = others(leader)[0];
    let is_certain = |stage: &mut Stage, index: usize| {
        stage.on(index, |handle, _| async move {
            let told = Arc::new(Told::default());
            handle.set_duties(Arc::clone(&told) as _);
            let lead = told.0.get().cloned();
            (handle.status().role, lead.unwrap().is_certain().await)
        })
    };
    assert_eq!(is_certain(&mut stage, leader), (Role::Leader, true));
    assert_eq!(is_certain(&mut stage, follower), (Role::Follower, false));
    stage.isolate(leader);
    assert_eq!(is_certain(&mut stage, leader), (Role::Leader, false));
}
