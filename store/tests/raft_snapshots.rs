//! The promise: a member whose next entry nobody has any more gets the whole state, and a kill in the middle of that
//! does no harm.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]

mod simulation;

use std::time::Duration;

use simulation::Stage;

fn fill(stage: &mut Stage, at: usize, count: usize) {
    let done = stage.on(at, move |handle, _| async move {
        for number in 0..count {
            let command = simulation::Journal::command(&format!("entry {number}"), 1_000);
            handle.propose(command, "", 0).await?;
        }
        Ok::<(), revkeep_store::StoreError>(())
    });
    done.unwrap();
}

#[test]
fn a_member_that_lags_too_far_gets_the_whole_state() {
    let mut stage = Stage::new(1, 3, 0);
    let leader = stage.await_leader(&[0, 1, 2]);
    let away = (leader + 1) % 3;
    stage.kill(away);
    fill(&mut stage, leader, 700);
    stage.run_for(Duration::from_secs(5));
    assert_eq!(stage.world.seats[away].journal.installs(), 0);
    let made = stage.world.seats[leader].journal.snapshots();
    assert_eq!(made, 0, "files for a member that is down");
    stage.start(away);
    stage.run_until("it is equal", |stage| {
        stage.rows(away) == stage.rows(leader)
    });
    assert_eq!(
        stage.world.seats[away].journal.installs(),
        1,
        "by a snapshot"
    );
    stage.write(away, "it takes part again").unwrap();
    // And what it got survives a restart.
    stage.kill(away);
    stage.start(away);
    stage.run_until("it is equal again", |stage| {
        stage.rows(away) == stage.rows(leader)
    });
}

#[test]
fn a_kill_while_the_state_is_received_does_no_harm() {
    let mut installs = 0;
    for seed in 0..6 {
        let mut stage = Stage::new(seed, 3, 0);
        let leader = stage.await_leader(&[0, 1, 2]);
        let away = (leader + 1) % 3;
        stage.kill(away);
        fill(&mut stage, leader, 650);
        stage.run_for(Duration::from_secs(5));
        // Killed a little later each time, so that some kill falls into every part of it.
        for pause in 0..12 {
            stage.start(away);
            stage.run_for(Duration::from_millis(20 + seed + pause * 7));
            stage.kill(away);
        }
        stage.start(away);
        stage.run_until("it is equal", |stage| {
            stage.rows(away) == stage.rows(leader)
        });
        stage.write(away, "it takes part again").unwrap();
        installs += stage.world.seats[away].journal.installs();
    }
    assert!(installs >= 6);
}
