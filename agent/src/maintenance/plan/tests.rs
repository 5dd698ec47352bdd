use super::*;
use crate::source::{Alarm, Condition, Listed};

const THRESHOLDS: Thresholds = Thresholds {
    free_percent: 50,
    free_bytes: 100,
};

fn member(id: u64, db_bytes: u64, used_bytes: u64) -> MemberLook {
    MemberLook {
        listed: Listed {
            member_id: id,
            name: format!("m{id}"),
            ..Listed::default()
        },
        member: None,
        condition: Some(Condition {
            member_id: id,
            leader: 1,
            db_bytes,
            used_bytes,
            ..Condition::default()
        }),
        error: None,
    }
}

/// Member 1 leads; all but member 4 are fragmented.
fn cluster() -> Found {
    Found {
        members: vec![
            member(1, 1000, 100),
            member(2, 1000, 400),
            member(3, 1000, 500),
            member(4, 1000, 501),
        ],
        ..Found::default()
    }
}

fn ids(plan: &Plan) -> Vec<u64> {
    match plan {
        Plan::Steps(steps) => steps.iter().map(|step| step.member_id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn followers_come_first_and_the_leader_last() {
    let planned = plan(&cluster(), 1, Scope::Cluster, THRESHOLDS);
    assert_eq!(ids(&planned), [2, 3, 1]);
    assert_eq!(ids(&plan(&cluster(), 3, Scope::Member, THRESHOLDS)), [3]);
    assert_eq!(
        plan(&cluster(), 4, Scope::Member, THRESHOLDS),
        Plan::Nothing
    );
}

#[test]
fn both_thresholds_must_be_reached() {
    let mut found = cluster();
    found.members = vec![member(1, 150, 60), member(2, 10_000, 9_000)];
    assert_eq!(plan(&found, 1, Scope::Cluster, THRESHOLDS), Plan::Nothing);
}

fn own(found: &mut Found) -> &mut Condition {
    found.members[3].condition.as_mut().unwrap()
}

/// A word of the reason, and what makes a cluster so.
type Illness = (&'static str, fn(&mut Found));

#[test]
fn nothing_is_done_while_any_member_is_not_well() {
    let ill: [Illness; 9] = [
        ("does not answer", |found| found.members[3].condition = None),
        ("slow", |found| {
            found.members[3].error = Some("slow".to_owned());
        }),
        ("learner", |found| found.members[3].listed.is_learner = true),
        ("leader", |found| own(found).leader = 0),
        ("agree", |found| own(found).leader = 2),
        ("not well", |found| {
            own(found).errors = vec!["etcdserver: no leader".to_owned()];
        }),
        ("lags", |found| own(found).raft_index = 10_000),
        ("alarm", |found| {
            found.alarms = vec![Alarm {
                member_id: 2,
                kind: "NOSPACE",
            }];
        }),
        ("linearizable", |found| {
            found.read_error = Some("no quorum".to_owned());
        }),
    ];
    for (word, make_ill) in ill {
        let mut found = cluster();
        make_ill(&mut found);
        for scope in [Scope::Member, Scope::Cluster] {
            match plan(&found, 1, scope, THRESHOLDS) {
                Plan::NotNow(why) => assert!(why.contains(word), "{word}: {why}"),
                other => panic!("{word}: {other:?}"),
            }
        }
    }
}
