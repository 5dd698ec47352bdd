//! What the agent's user may do, by trying it.

use revkeep_schemas::Revision;

use super::{Report, Source};
use crate::AgentError;
use crate::base::HashPolicy;

/// A revision that no source has: etcd says so at once, and reads no row.
const NEVER: Revision = Revision(i64::MAX);

/// What etcd says of it to whoever may ask (etcd, `api/v3rpc/rpctypes/error.go`).
const IN_THE_FUTURE: &str = "required revision is a future revision";

/// Tries what `run` does.
pub(super) async fn look(source: &Source, report: &mut Report) {
    let member = &source.member;
    let access = member.connection().access();
    let mut allowed = Vec::new();
    let mut tried =
        |what: &'static str, outcome: Result<(), AgentError>, report: &mut Report| match outcome {
            Ok(()) => allowed.push(what),
            Err(error) => report.error("permission", &error, "see the log of that member"),
        };
    if let Some(current) = source.current {
        tried("watch", member.tries_watch(current.next()).await, report);
    }
    tried("leases", member.leases().await.map(drop), report);
    tried("members", member.members().await.map(drop), report);
    tried("alarms", member.alarms().await.map(drop), report);
    tried("snapshot", Box::pin(first_message(source)).await, report);
    if access.hashkv != HashPolicy::Never {
        let hash = match member.hash_kv(NEVER).await {
            Err(error) if error.to_string().contains(IN_THE_FUTURE) => Ok(()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        tried("hashkv", hash, report);
    }
    let who = access.user.map_or_else(
        || "without a user".to_owned(),
        |user| format!("as {}", user.name),
    );
    if !allowed.is_empty() {
        let allowed = allowed.join(", ");
        report.ok("permission", format!("{who} it may: {allowed}"));
    }
}

/// Begins a snapshot, which shows that it may be taken, and lets go of it.
async fn first_message(source: &Source) -> Result<(), AgentError> {
    let mut stream = source.member.snapshot().await?;
    source.member.snapshot_message(&mut stream).await?;
    Ok(())
}
