//! What `retention plan` and `apply` say of locks.

use revkeep_vault::lock::{Lock, LockPlan, Locked};
use revkeep_vault::retention::Policy;
use revkeep_vault::{Cluster, Damage, VaultError};
use serde_json::{Value, json};

use super::output::{Output, bytes, error, line};
use super::retention::when;

/// More failures than these are not named one by one for eyes.
const NAMED: usize = 20;

/// What would be locked.
pub(super) fn planned(lock: &Lock, plan: &LockPlan) -> Value {
    json!({
        "mode": lock.mode.to_string(), "until": when(plan.until), "objects": plan.objects(), "bytes": plan.bytes(),
        "covered": plan.covered, "failed": damages(&plan.failed),
    })
}

fn damages(failed: &[Damage]) -> Vec<Value> {
    let told = |damage: &Damage| json!({"name": damage.name, "reason": damage.reason});
    failed.iter().map(told).collect()
}

/// The same, for eyes.
pub(super) fn planned_line(lock: &Lock, plan: &LockPlan) -> String {
    format!(
        "{} objects, {}, would be locked until {} ({}); {} are covered",
        plan.objects(),
        bytes(plan.bytes()),
        when(plan.until),
        lock.mode,
        plan.covered
    )
}

/// Locks what the policy keeps of a cluster, and says so. What programs are told of it; `None` where it asks for no locks.
///
/// # Errors
/// When not everything is locked: then nothing may be deleted.
pub(super) async fn apply(
    cluster: &Cluster,
    policy: &Policy,
    output: Output,
) -> Result<Option<Value>, VaultError> {
    let name = cluster.name();
    let Some(lock) = policy.lock(name) else {
        return Ok(None);
    };
    let locked = cluster
        .lock_kept(&lock, &policy.rules(name), &policy.zone)
        .await?;
    let told = done(&lock, &locked);
    if output == Output::Simple {
        line(&format!("{name}: {}", done_line(&lock, &locked)));
    }
    if let Err(incomplete) = locked.complete() {
        match output {
            Output::Simple => failures(name.as_str(), &locked.failed),
            Output::Json => line(
                &json!({"cluster": name.as_str(), "did": "nothing", "locked": told}).to_string(),
            ),
        }
        return Err(incomplete);
    }
    Ok(Some(told))
}

/// What was locked.
fn done(lock: &Lock, locked: &Locked) -> Value {
    json!({
        "mode": lock.mode.to_string(), "until": when(locked.until), "objects": locked.set, "bytes": locked.bytes,
        "covered": locked.covered, "weaker": locked.weaker,
        "failed": damages(&locked.failed),
    })
}

/// The same, for eyes.
fn done_line(lock: &Lock, locked: &Locked) -> String {
    let weaker = match locked.weaker {
        0 => String::new(),
        weaker => format!(
            "; {weaker} of both stay in governance mode, which the store does not let be changed"
        ),
    };
    format!(
        "{} objects, {}, are locked until {} ({}); {} were covered{weaker}",
        locked.set,
        bytes(locked.bytes),
        when(locked.until),
        lock.mode,
        locked.covered
    )
}

/// Names what could not be locked.
pub(super) fn failures(cluster: &str, failed: &[Damage]) {
    for damage in failed.iter().take(NAMED) {
        error(&format!(
            "{cluster}: {} is not locked: {}",
            damage.name, damage.reason
        ));
    }
    let more = failed.len().saturating_sub(NAMED);
    if more > 0 {
        error(&format!(
            "{cluster}: {more} more are not locked; -w json names them all"
        ));
    }
}
