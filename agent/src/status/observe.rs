//! Looks from time to time at what nobody tells: where the source stands, its compactions, when certificates expire, and
//! whether the agent is healthy.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::certificates::{self, Expiry};
use super::handle::StatusHandle;
use super::monitor::Monitor;
use super::server::Serving;
use crate::head::HeadKeeper;
use crate::source::{Connection, Member};

/// Between two looks at the source: a count of one key, and one read at an old revision.
const POLL: Duration = Duration::from_secs(5);
/// Between two looks at the member's file and at alarms.
const INSPECT: Duration = Duration::from_secs(30);
/// Before the first look.
const SOON: Duration = Duration::from_millis(500);
/// Between two looks at files.
const FILES: Duration = Duration::from_secs(5);
/// Between two handshakes for the sake of the member's certificate.
const HANDSHAKES: Duration = Duration::from_secs(3600);
/// Between two looks at the agent itself.
const JUDGE: Duration = Duration::from_secs(1);
/// How fine the times of revisions are kept.
const GRAIN: Duration = Duration::from_millis(100);

/// Observes until `done`.
pub(super) async fn observe(
    status: Arc<StatusHandle>,
    connection: Connection,
    serving: Option<Serving>,
    done: CancellationToken,
) {
    let all = async {
        tokio::join!(
            stamp(&status),
            poll(&status),
            read_certificates(&status, &connection),
            judge(&status, serving)
        )
    };
    tokio::select! {
        () = done.cancelled() => {}
        _ = all => {}
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Notes when the source was first seen at a revision.
async fn stamp(status: &StatusHandle) {
    let mut ticks = every(GRAIN);
    loop {
        ticks.tick().await;
        if let Some(live) = status.live() {
            let source = live.head.standing().source;
            status.monitor().source_at(source, Instant::now());
        }
    }
}

/// Asks the source. The member that capture was connected to last is asked even when capture has let go of it.
async fn poll(status: &StatusHandle) {
    let mut known: Option<Member> = None;
    let mut inspected = None;
    loop {
        if let Some(member) = status.live().and_then(|live| live.member.borrow().clone()) {
            known = Some(member);
        }
        let live = status.live();
        if let (Some(live), Some(member)) = (live, &known) {
            look(status.monitor(), &live.head, member).await;
            if inspected.is_none_or(|last: Instant| last.elapsed() >= INSPECT) {
                inspected = Some(Instant::now());
                inspect(status.monitor(), member).await;
            }
            tokio::time::sleep(POLL).await;
        } else {
            tokio::time::sleep(SOON).await;
        }
    }
}

/// Asks how the member is and what alarms are set. One that does not say is told of by [`look`].
async fn inspect(monitor: &Monitor, member: &Member) {
    let asked =
        async { Ok::<_, crate::AgentError>((member.condition().await?, member.alarms().await?)) };
    match asked.await {
        Ok((condition, alarms)) => monitor.condition(condition, alarms),
        Err(error) => tracing::debug!(%error, "the source did not say how it is"),
    }
}

async fn look(monitor: &Monitor, head: &HeadKeeper, member: &Member) {
    let asked = Instant::now();
    match member.current_revision().await {
        Ok(current) => {
            head.source_at(current);
            monitor.source_answered(Ok(asked.elapsed()));
        }
        Err(error) => {
            tracing::debug!(%error, "the source did not say where it stands");
            monitor.source_answered(Err(error.to_string()));
            return;
        }
    }
    let compact = monitor.read(|told| told.compactions.compact());
    match member.compacted_above(compact).await {
        Ok(found) => {
            let compact = found.map_or(compact, |(_, compact)| compact);
            monitor.compacted(compact, Instant::now());
        }
        Err(error) => tracing::debug!(%error, "the source did not say where it is compacted"),
    }
}

async fn read_certificates(status: &StatusHandle, connection: &Connection) {
    let mut ticks = every(FILES);
    let mut shown: Option<(Instant, Expiry)> = None;
    let mut connected = 0;
    loop {
        ticks.tick().await;
        let mut found = certificates::in_files(&connection.access().tls).await;
        let connects = status.monitor().read(|told| told.connects);
        let fresh = shown
            .as_ref()
            .is_some_and(|(seen, _)| seen.elapsed() < HANDSHAKES);
        // What was connected to anew may have another one.
        if !fresh || connects != connected {
            let member = status.live().and_then(|live| live.member.borrow().clone());
            if let Some(member) = member
                && let Some(expiry) = certificates::of_member(connection, member.endpoint()).await
            {
                shown = Some((Instant::now(), expiry));
                connected = connects;
            }
        }
        found.extend(shown.iter().map(|(_, expiry)| expiry.clone()));
        status.monitor().certificates(found);
    }
}

/// Logs when the agent becomes healthy or unhealthy, or is so for another reason; tells those who ask by gRPC whether it
/// is ready.
async fn judge(status: &StatusHandle, serving: Option<Serving>) {
    let mut ticks = every(JUDGE);
    let mut before: Option<Vec<&'static str>> = None;
    loop {
        ticks.tick().await;
        let report = status.report();
        if let Some(serving) = &serving {
            serving.ready(report.is_ready()).await;
        }
        let codes: Vec<_> = report.reasons.iter().map(|reason| reason.code).collect();
        if before.as_ref() == Some(&codes) {
            continue;
        }
        let healthy = codes.is_empty();
        let (durable_revision, lag_revisions) = (report.durable.0, report.lag_revisions());
        if healthy {
            tracing::info!(
                healthy,
                durable_revision,
                lag_revisions,
                "the agent's health changed"
            );
        } else {
            let reasons = report.reasons.iter();
            let reasons: Vec<_> = reasons
                .map(|reason| format!("{}: {}", reason.code, reason.message))
                .collect();
            let reasons = reasons.join("; ");
            tracing::warn!(
                healthy,
                reasons,
                durable_revision,
                lag_revisions,
                "the agent's health changed"
            );
        }
        before = Some(codes);
    }
}
