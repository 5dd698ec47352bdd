//! Defragments on its schedule.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Found, Permit, Plan, Step, Upkeep, look, plan};
use crate::AgentError;
use crate::config::Dial;
use crate::source::{Connection, Member};
use crate::status::Monitor;

/// Between agents that are each beside a member and have the same schedule, so that the later one sees the earlier at work:
/// a member that is being defragmented does not answer.
const STAGGER: Duration = Duration::from_secs(8);
/// Before the cluster is looked at again, where it could not spare a member.
const AGAIN: Duration = Duration::from_secs(10);

/// What came of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defragmented {
    /// Its name.
    pub name: String,
    /// The size of its file before, in bytes.
    pub before_bytes: u64,
    /// And after.
    pub after_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Looks after the source.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// How members are reached.
    pub connection: Connection,
    /// What is done.
    pub upkeep: Dial<Upkeep>,
    /// Whether this agent may.
    pub permit: Permit,
    /// Told of what came of it.
    pub monitor: Arc<Monitor>,
}

impl Keeper {
    /// Runs until `stop`. A request that is under way then is not waited for: the member finishes it.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due() => {}
            }
            if !self.permit.may_maintain() {
                tracing::debug!("another agent looks after the source");
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = Box::pin(self.keep()) => {}
            }
        }
    }

    /// Waits until the schedule says so, whatever it is meanwhile.
    async fn due(&self) {
        let mut changes = self.upkeep.changes();
        loop {
            let now = Utc::now();
            let next = self
                .upkeep
                .get()
                .schedule
                .and_then(|one| one.next_after(now));
            let waiting = async {
                match next {
                    Some(next) => {
                        tokio::time::sleep((next - now).to_std().unwrap_or_default()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waiting => return,
                // The dial is ours as well, so this tells of changes alone.
                _ = changes.changed() => {}
            }
        }
    }

    async fn keep(&self) {
        match self.defragment().await {
            Ok(done) => {
                let members = done.len();
                tracing::info!(members, "the source was looked after");
                self.monitor.kept(Ok(done.len()));
            }
            Err(error) => {
                tracing::error!(%error, "defragmentation ended early; the rest is left for the next time");
                self.monitor.kept(Err(error.to_string()));
            }
        }
    }

    /// Defragments what is fragmented, one member after another.
    ///
    /// # Errors
    /// The first failure, after which no other member is touched.
    pub async fn defragment(&self) -> Result<Vec<Defragmented>, AgentError> {
        let upkeep = self.upkeep.get();
        let endpoint = self
            .connection
            .endpoints
            .first()
            .cloned()
            .unwrap_or_default();
        let here = Member::connect(&self.connection, &endpoint)
            .await?
            .1
            .member_id;
        let mut done: Vec<Defragmented> = Vec::new();
        let mut touched: Vec<u64> = Vec::new();
        let mut until = Instant::now() + upkeep.timeout;
        let mut found = self.look(&endpoint).await?;
        let before = place(&found, here);
        if before > 0 {
            tokio::time::sleep(STAGGER * before).await;
            found = self.look(&endpoint).await?;
        }
        loop {
            match plan(&found, here, upkeep.scope, upkeep.thresholds) {
                Plan::Nothing => return Ok(done),
                Plan::NotNow(why) if Instant::now() >= until => {
                    return Err(AgentError::Unwell(why));
                }
                Plan::NotNow(why) => {
                    tracing::info!(why, "no member can be spared now");
                    tokio::time::sleep(AGAIN).await;
                }
                Plan::Steps(steps) => {
                    // What stays fragmented is not tried twice.
                    let next = steps
                        .into_iter()
                        .find(|step| !touched.contains(&step.member_id));
                    let Some(step) = next else { return Ok(done) };
                    touched.push(step.member_id);
                    done.push(one(&found, &step, upkeep.timeout).await?);
                    until = Instant::now() + upkeep.timeout;
                }
            }
            found = self.look(&endpoint).await?;
        }
    }

    async fn look(&self, endpoint: &str) -> Result<Found, AgentError> {
        Box::pin(look(&self.connection, endpoint)).await
    }
}

/// The place of a member among all.
fn place(found: &Found, here: u64) -> u32 {
    let before = found
        .members
        .iter()
        .filter(|one| one.listed.member_id < here);
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

async fn one(found: &Found, step: &Step, timeout: Duration) -> Result<Defragmented, AgentError> {
    let of = |one: &&super::MemberLook| one.listed.member_id == step.member_id;
    let look = found.members.iter().find(of);
    let missing = || AgentError::Internal(format!("member {} is not there", step.name));
    let look = look.ok_or_else(missing)?;
    let (Some(member), Some(condition)) = (&look.member, &look.condition) else {
        return Err(missing());
    };
    let (name, before_bytes) = (step.name.clone(), condition.db_bytes);
    let free_bytes = condition.free_bytes();
    tracing::info!(
        name,
        leads = step.leads,
        db_bytes = before_bytes,
        free_bytes,
        "defragmenting a member"
    );
    let started = Instant::now();
    Box::pin(member.defragment(timeout)).await?;
    let took = started.elapsed();
    let after_bytes = member.condition().await?.db_bytes;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        name,
        before_bytes,
        after_bytes,
        took_ms,
        "a member is defragmented"
    );
    Ok(Defragmented {
        name,
        before_bytes,
        after_bytes,
        took,
    })
}
