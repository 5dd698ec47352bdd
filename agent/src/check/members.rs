//! Every member of the cluster: health, quota, free pages, alarms.

use super::{Report, Source};
use crate::maintenance::{MemberLook, QuotaLevel, level, look as look_at_all};
use crate::run::RunOptions;
use crate::source::Connection;

/// Looks at all of them.
pub(super) async fn look(
    connection: &Connection,
    source: &Source,
    options: &RunOptions,
    report: &mut Report,
) {
    let endpoint = source.member.endpoint();
    let found = match Box::pin(look_at_all(connection, endpoint)).await {
        Ok(found) => found,
        Err(error) => {
            report.error("members", &error, "see the log of that member");
            return;
        }
    };
    for alarm in &found.alarms {
        let (kind, member) = (alarm.kind, alarm.member_id);
        let advice = match kind {
            "NOSPACE" => "compact, defragment each member, then etcdctl alarm disarm",
            _ => {
                "a member is damaged: find out which by comparing etcdctl endpoint hashkv, and replace it"
            }
        };
        report.fail(
            "alarm",
            format!("{kind} is set by member {member:x}"),
            advice,
        );
    }
    let voters = found
        .members
        .iter()
        .filter(|one| !one.listed.is_learner)
        .count();
    let well = found.members.iter().filter(|one| is_well(one)).count();
    let leaders: Vec<u64> = found
        .members
        .iter()
        .filter_map(|one| one.condition.as_ref().map(|own| own.leader))
        .collect();
    let agree = leaders.windows(2).all(|two| two.first() == two.last()) && !leaders.contains(&0);
    if well == found.members.len() && agree {
        let leader = found
            .members
            .iter()
            .find(|one| leaders.first() == Some(&one.listed.member_id));
        let leader = leader.map_or("?", |one| one.listed.name.as_str());
        report.ok(
            "members",
            format!("{well} answer, {voters} of them vote; {leader} leads"),
        );
    }
    if !agree {
        report.fail(
            "members",
            "they do not agree on a leader",
            "mend the cluster first",
        );
    }
    for one in &found.members {
        member(one, options, report);
    }
}

fn is_well(one: &MemberLook) -> bool {
    let errors = |one: &MemberLook| {
        one.condition
            .as_ref()
            .is_some_and(|own| own.errors.is_empty())
    };
    one.error.is_none() && errors(one)
}

fn member(one: &MemberLook, options: &RunOptions, report: &mut Report) {
    let name = if one.listed.name.is_empty() {
        format!("{:x}", one.listed.member_id)
    } else {
        one.listed.name.clone()
    };
    if let Some(error) = &one.error {
        report.warn(
            "members",
            format!("{name} does not answer as it should: {error}"),
            "see whether it runs and whether its client URLs can be reached from here",
        );
    }
    let Some(own) = &one.condition else { return };
    if let Some(error) = own.errors.first() {
        report.warn("members", format!("{name} says: {error}"), "see its log");
    }
    if one.listed.is_learner {
        report.warn(
            "members",
            format!("{name} is a learner, without a vote"),
            "promote it once it has caught up; an agent is better beside a member with a vote",
        );
    }
    let upkeep = options.upkeep.get();
    let mib = |bytes: u64| bytes >> 20;
    let (db, used) = (mib(own.db_bytes), mib(own.used_bytes));
    match own.quota_bytes.or(upkeep.quota_bytes) {
        None => report.ok(
            "quota",
            format!("{name}: {db} MiB, {used} in use; this release does not tell its quota, --quota-bytes can"),
        ),
        Some(quota) => {
            let text = format!("{name}: {db} MiB of {} MiB, {used} in use", mib(quota));
            match level(own.db_bytes, quota) {
                QuotaLevel::Fine => report.ok("quota", text),
                QuotaLevel::Near => report.warn("quota", text, "compact and defragment, or raise --quota-backend-bytes"),
                QuotaLevel::Reached => report.fail(
                    "quota",
                    format!("{text}: writes are about to be refused"),
                    "compact and defragment, or raise --quota-backend-bytes",
                ),
            }
        }
    }
    let thresholds = upkeep.thresholds;
    let fragmented = own.free_percent() >= u64::from(thresholds.free_percent)
        && own.free_bytes() >= thresholds.free_bytes;
    if fragmented {
        let advice = if upkeep.schedule.is_some() {
            "it will be defragmented by --defrag-schedule"
        } else {
            "give --defrag-schedule, or defragment it by hand, one member at a time and the leader last"
        };
        report.warn(
            "fragments",
            format!("{name}: {} % of its file is free", own.free_percent()),
            advice,
        );
    }
}
