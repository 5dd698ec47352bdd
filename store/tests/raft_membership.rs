//! The promise: members come and go one at a time, as in etcd and with etcd's refusals, and never cost the cluster what
//! it has agreed on.

#![allow(clippy::indexing_slicing, reason = "a test")]

mod simulation;

use std::time::Duration;

use revkeep_store::{
    Result, StoreError,
    raft::{PeerMember, StopReason},
};
use simulation::Stage;

const SECOND: Duration = Duration::from_secs(1);

fn newcomer(stage: &Stage, index: usize, learner: bool) -> PeerMember {
    PeerMember {
        // Added later, it has not told its name.
        name: String::new(),
        learner,
        ..stage.world.seats[index].member()
    }
}

fn add(stage: &mut Stage, at: usize, member: PeerMember) -> Result<Vec<PeerMember>> {
    stage.on(
        at,
        |handle, _| async move { handle.add_member(member).await },
    )
}

fn remove(stage: &mut Stage, at: usize, id: u64) -> Result<Vec<PeerMember>> {
    stage.on(at, move |handle, _| async move {
        handle.remove_member(id).await
    })
}

fn promote(stage: &mut Stage, at: usize, id: u64) -> Result<Vec<PeerMember>> {
    stage.on(at, move |handle, _| async move {
        handle.promote_member(id).await
    })
}

/// Whether every member on these seats has all rows of the first.
fn equal(stage: &Stage, seats: &[usize]) -> bool {
    let first = stage.rows(seats[0]);
    seats.iter().all(|seat| stage.rows(*seat) == first)
}

#[test]
fn a_cluster_grows_from_one_to_three_and_shrinks_again() {
    let mut stage = Stage::new(1, 1, 2);
    stage.await_leader(&[0]);
    stage.write(0, "alone").unwrap();
    let second = newcomer(&stage, 1, false);
    // Answered before the second has ever run, as in etcd; and the first can still write.
    assert_eq!(add(&mut stage, 0, second).unwrap().len(), 2);
    stage.write(0, "the second is not there yet").unwrap();
    stage.start(1);
    stage.run_until("the second is equal", |stage| equal(stage, &[0, 1]));
    stage.run_for(SECOND * 7);
    let third = newcomer(&stage, 2, false);
    assert_eq!(add(&mut stage, 1, third).unwrap().len(), 3);
    stage.start(2);
    stage.run_until("the third is equal", |stage| equal(stage, &[0, 1, 2]));
    stage.run_for(SECOND * 7);
    // The vote has moved to all three: any one may go.
    for gone in 0..3 {
        stage.kill(gone);
        let left: Vec<usize> = (0..3).filter(|seat| *seat != gone).collect();
        let leader = stage.await_leader(&left);
        stage.write(leader, &format!("without {gone}")).unwrap();
        stage.start(gone);
        stage.run_until("it is back", |stage| equal(stage, &[0, 1, 2]));
    }
    stage.run_for(SECOND * 7);
    let leader = stage.await_leader(&[0, 1, 2]);
    let gone = (leader + 1) % 3;
    let id = stage.id(gone);
    assert_eq!(remove(&mut stage, (leader + 2) % 3, id).unwrap().len(), 2);
    stage.run_until("the removed one stops", |stage| {
        matches!(stage.stop_reason(gone), Some(StopReason::Removed))
    });
    stage.write(leader, "two are left").unwrap();
}

#[test]
fn a_removed_member_learns_it_even_if_it_was_away() {
    let mut stage = Stage::new(2, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    stage.run_for(SECOND * 7);
    let gone = (leader + 1) % 3;
    stage.isolate(gone);
    stage.run_for(SECOND * 3);
    let id = stage.id(gone);
    remove(&mut stage, leader, id).unwrap();
    stage.run_for(SECOND * 3);
    assert!(stage.stop_reason(gone).is_none(), "it cannot know yet");
    let term = stage.status(leader).unwrap().term;
    stage.heal();
    stage.run_until("it stops", |stage| {
        matches!(stage.stop_reason(gone), Some(StopReason::Removed))
    });
    assert_eq!(
        stage.status(leader).unwrap().term,
        term,
        "the others were not disturbed"
    );
    // And again when it is started again.
    stage.kill(gone);
    stage.start(gone);
    stage.run_until("it stops again", |stage| {
        matches!(stage.stop_reason(gone), Some(StopReason::Removed))
    });
    // Its id never comes back.
    let again = newcomer(&stage, gone, false);
    let refused = add(&mut stage, leader, again);
    assert!(
        matches!(refused, Err(StoreError::MemberExists)),
        "{refused:?}"
    );
}

#[test]
fn the_leader_can_be_removed() {
    let mut stage = Stage::new(3, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    stage.write(leader, "before").unwrap();
    stage.run_for(SECOND * 7);
    let id = stage.id(leader);
    let asked = (leader + 1) % 3;
    assert_eq!(remove(&mut stage, asked, id).unwrap().len(), 2);
    stage.run_until("it stops", |stage| {
        matches!(stage.stop_reason(leader), Some(StopReason::Removed))
    });
    let left = [(leader + 1) % 3, (leader + 2) % 3];
    let next = stage.await_leader(&left);
    stage.write(next, "after").unwrap();
    stage.run_until("both have it", |stage| equal(stage, &left));
    assert_eq!(stage.rows(next), ["before", "after"]);
}

#[test]
fn a_learner_is_promoted_once_it_has_caught_up() {
    let mut stage = Stage::new(4, 3, 2);
    let leader = stage.await_leader(&[0, 1, 2]);
    for count in 0..30 {
        stage.write(leader, &format!("early {count}")).unwrap();
    }
    stage.run_for(SECOND * 7);
    let learner = newcomer(&stage, 3, true);
    let id = learner.id;
    let members = add(&mut stage, 0, learner).unwrap();
    assert!(
        members
            .iter()
            .any(|member| member.id == id && member.learner)
    );
    let another = newcomer(&stage, 4, true);
    let refused = add(&mut stage, 0, another);
    assert!(
        matches!(refused, Err(StoreError::TooManyLearners)),
        "{refused:?}"
    );
    let refused = promote(&mut stage, 0, id);
    assert!(
        matches!(refused, Err(StoreError::LearnerNotReady)),
        "{refused:?}"
    );
    stage.start(3);
    stage.run_until("it has caught up", |stage| equal(stage, &[leader, 3]));
    assert!(stage.handle(3).is_learner());
    stage.run_for(SECOND * 7);
    let members = promote(&mut stage, 1, id).unwrap();
    assert!(
        members
            .iter()
            .any(|member| member.id == id && !member.learner)
    );
    stage.run_until("it knows", |stage| !stage.handle(3).is_learner());
    let refused = promote(&mut stage, 1, id);
    assert!(
        matches!(refused, Err(StoreError::MemberNotLearner)),
        "{refused:?}"
    );
    // Its vote counts: of four, three must be there.
    stage.run_for(SECOND * 3);
    let followers: Vec<usize> = (0..3).filter(|seat| *seat != leader).collect();
    stage.kill(followers[0]);
    stage.write(leader, "three of four").unwrap();
    stage.kill(followers[1]);
    assert!(stage.write(leader, "two of four").is_err());
}

#[test]
fn what_etcd_refuses_is_refused() {
    let mut stage = Stage::new(5, 3, 2);
    let leader = stage.await_leader(&[0, 1, 2]);
    // The members have not been connected for five seconds yet.
    let early = newcomer(&stage, 3, false);
    let refused = add(&mut stage, leader, early);
    assert!(matches!(refused, Err(StoreError::Unhealthy)), "{refused:?}");
    stage.run_for(SECOND * 7);
    for at in 0..3 {
        let mut same_urls = newcomer(&stage, 3, false);
        same_urls.peer_urls = stage.world.seats[1].member().peer_urls;
        let refused = add(&mut stage, at, same_urls);
        assert!(
            matches!(refused, Err(StoreError::PeerUrlExists)),
            "{refused:?}"
        );
        let same = newcomer(&stage, 1, false);
        let refused = add(&mut stage, at, same);
        assert!(
            matches!(refused, Err(StoreError::MemberExists)),
            "{refused:?}"
        );
        let refused = remove(&mut stage, at, 77);
        assert!(
            matches!(refused, Err(StoreError::MemberNotFound)),
            "{refused:?}"
        );
        let refused = promote(&mut stage, at, 77);
        assert!(
            matches!(refused, Err(StoreError::MemberNotFound)),
            "{refused:?}"
        );
        let id = stage.id(1);
        let refused = promote(&mut stage, at, id);
        assert!(
            matches!(refused, Err(StoreError::MemberNotLearner)),
            "{refused:?}"
        );
        let refused = stage.on(at, |handle, _| async move {
            handle
                .update_member(77, vec!["http://x:1".to_owned()])
                .await
        });
        assert!(
            matches!(refused, Err(StoreError::MemberNotFound)),
            "{refused:?}"
        );
    }
    // One is down: removing a healthy one would leave one of two.
    let down = (leader + 1) % 3;
    stage.kill(down);
    stage.run_for(SECOND * 3);
    let healthy = stage.id((leader + 2) % 3);
    let refused = remove(&mut stage, leader, healthy);
    assert!(matches!(refused, Err(StoreError::Unhealthy)), "{refused:?}");
    // The one that is down may go.
    let down = stage.id(down);
    assert_eq!(remove(&mut stage, leader, down).unwrap().len(), 2);
}

#[test]
fn a_member_moves_to_another_address() {
    let mut stage = Stage::new(6, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    let moved = (leader + 1) % 3;
    let id = stage.id(moved);
    let mut urls = stage.world.seats[moved].member().peer_urls;
    urls.insert(0, "http://m0:9".to_owned());
    let members = stage.on((leader + 2) % 3, {
        let urls = urls.clone();
        move |handle, _| async move { handle.update_member(id, urls).await }
    });
    let members = members.unwrap();
    assert!(
        members
            .iter()
            .any(|member| member.id == id && member.peer_urls == urls)
    );
    stage.write(leader, "still there").unwrap();
    stage.run_until("also there", |stage| stage.rows(moved) == ["still there"]);
}
