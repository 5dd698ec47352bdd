//! Which members are defragmented, in which order, and why none is. Pure.

use super::{Found, MemberLook, Scope, Thresholds};

/// How far a member may be behind in applying before it counts as not well, in Raft entries.
const LAG_LIMIT: u64 = 5_000;

/// One member to be defragmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its id.
    pub member_id: u64,
    /// Its name.
    pub name: String,
    /// Whether it is the leader.
    pub leads: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// These, one after another.
    Steps(Vec<Step>),
    /// None is fragmented.
    Nothing,
    /// None may be now.
    NotNow(String),
}

/// Decides. `here` is the member that the agent is beside.
#[must_use]
pub fn plan(found: &Found, here: u64, scope: Scope, thresholds: Thresholds) -> Plan {
    if let Some(why) = not_well(found) {
        return Plan::NotNow(why);
    }
    let ours = |one: &&MemberLook| scope == Scope::Cluster || one.listed.member_id == here;
    let fragmented = |one: &&MemberLook| {
        one.condition.as_ref().is_some_and(|condition| {
            condition.free_percent() >= u64::from(thresholds.free_percent)
                && condition.free_bytes() >= thresholds.free_bytes
        })
    };
    let mut steps: Vec<Step> = found
        .members
        .iter()
        .filter(ours)
        .filter(fragmented)
        .map(|one| Step {
            member_id: one.listed.member_id,
            name: one.listed.name.clone(),
            leads: one
                .condition
                .as_ref()
                .is_some_and(|own| own.leader == own.member_id),
        })
        .collect();
    // The leader blocks all writes meanwhile: last, when the others are done.
    steps.sort_by_key(|step| (step.leads, step.member_id));
    if steps.is_empty() {
        return Plan::Nothing;
    }
    Plan::Steps(steps)
}

/// Why the cluster cannot spare a member now.
fn not_well(found: &Found) -> Option<String> {
    if let Some(error) = &found.read_error {
        return Some(format!(
            "the cluster does not answer a linearizable read: {error}"
        ));
    }
    if found.members.is_empty() {
        return Some("the cluster lists no members".to_owned());
    }
    if let Some(alarm) = found.alarms.iter().find(|alarm| alarm.kind == "CORRUPT") {
        return Some(format!(
            "the alarm CORRUPT is set by member {:x}",
            alarm.member_id
        ));
    }
    if !found.alarms.is_empty() {
        return Some(
            "an alarm is set: disarm it first, and defragment by hand if the quota is the cause"
                .to_owned(),
        );
    }
    for one in &found.members {
        let (name, id) = (&one.listed.name, one.listed.member_id);
        let not = |why: &str| Some(format!("member {name} ({id:x}) {why}"));
        if let Some(error) = &one.error {
            return not(&format!("does not answer: {error}"));
        }
        let Some(condition) = &one.condition else {
            return not("does not answer");
        };
        if one.listed.is_learner || condition.is_learner {
            return not("is a learner: the cluster is being changed");
        }
        if condition.leader == 0 {
            return not("knows no leader");
        }
        if let Some(error) = condition.errors.first() {
            return not(&format!("says that it is not well: {error}"));
        }
        if condition.raft_index.saturating_sub(condition.applied_index) > LAG_LIMIT {
            return not("lags behind");
        }
    }
    let leader = found.members.first()?.condition.as_ref()?.leader;
    let agree = |one: &MemberLook| {
        one.condition
            .as_ref()
            .is_some_and(|own| own.leader == leader)
    };
    if !found.members.iter().all(agree) {
        return Some("the members do not agree on their leader".to_owned());
    }
    None
}

#[cfg(test)]
mod tests;
