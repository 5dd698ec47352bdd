//! The status of a running agent, as a table or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use revkeep_schemas::agent_api::StatusResponse;
use serde_json::{Value, json};

use crate::status::words;

/// For scripts.
pub(super) fn as_json(status: &StatusResponse) -> Value {
    let reasons: Vec<_> = status
        .reasons
        .iter()
        .map(|reason| json!({ "code": reason.code, "message": reason.message }))
        .collect();
    let certificates: Vec<_> = status
        .certificates
        .iter()
        .map(|one| json!({ "usage": one.usage, "place": one.place, "expires": time(one.expires_unix_ms) }))
        .collect();
    json!({
        "version": status.version,
        "cluster": status.cluster,
        "timeline": some(&status.timeline),
        "role": status.role,
        "phase": status.phase,
        "phase_since": time(status.phase_since_unix_ms),
        "ready": status.ready,
        "healthy": status.healthy,
        "reasons": reasons,
        "source_revision": status.source_revision,
        "durable_revision": status.durable_revision,
        "lag_revisions": status.lag_revisions,
        "lag_ms": status.lag_ms,
        "last_base": status.last_base.as_ref().map(|base| json!({
            "revision": base.revision,
            "compact_revision": base.compact_revision,
            "taken": time(base.taken_unix_ms),
        })),
        "last_snapshot": status.last_snapshot.as_ref().map(|snapshot| json!({
            "revision": snapshot.revision,
            "bytes": snapshot.bytes,
            "duration_ms": snapshot.duration_ms,
        })),
        "gaps_recorded": status.gaps_recorded,
        "gaps_waiting": status.gaps_waiting,
        "lost_revisions": status.lost_revisions,
        "compact_revision": status.compact_revision,
        "headroom_revisions": status.headroom_revisions,
        "headroom_ms": status.headroom_ms,
        "certificates": certificates,
        "vault_error": some(&status.vault_error),
    })
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// RFC 3339 in UTC; nothing for a time that is not known.
fn time(unix_ms: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(unix_ms).filter(|_| unix_ms != 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// For eyes.
pub(super) fn as_text(status: &StatusResponse, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<18}{value}");
    };
    let timeline = some(&status.timeline).unwrap_or("not known yet");
    line(
        "cluster",
        format!("{}, timeline {timeline}", status.cluster),
    );
    let since = age(status.phase_since_unix_ms, now);
    line("state", format!("{}{since}", status.phase));
    let role = match status.role.as_str() {
        "follows" => "follows another agent, which uploads",
        "uploads" => "uploads",
        _ => "not known yet",
    };
    line("role", role.to_owned());
    line(
        "healthy",
        if status.healthy { "yes" } else { "no" }.to_owned(),
    );
    for reason in &status.reasons {
        line("", format!("{}: {}", reason.code, reason.message));
    }
    line("source revision", status.source_revision.to_string());
    let behind = match status.lag_revisions {
        0 => String::new(),
        revisions => format!(", {revisions} behind for {}", ms(status.lag_ms)),
    };
    line(
        "durable revision",
        format!("{}{behind}", status.durable_revision),
    );
    let base = status.last_base.as_ref().map(|base| {
        let taken = time(base.taken_unix_ms).unwrap_or_default();
        format!("{}, {taken}", base.revision)
    });
    line("last base", base.unwrap_or_else(|| "none".to_owned()));
    let gaps = match (status.gaps_recorded, status.gaps_waiting) {
        (0, 0) => "none".to_owned(),
        (recorded, 0) => format!("{recorded} recorded, {} revisions", status.lost_revisions),
        (recorded, waiting) => format!("{recorded} recorded, {waiting} wait to be"),
    };
    line("gaps", format!("{gaps} since the agent started"));
    if let Some(revisions) = status.headroom_revisions {
        let left = status
            .headroom_ms
            .map(|left| format!(", about {}", ms(left)));
        line(
            "compaction",
            format!(
                "at {}; {revisions} revisions{} until one goes that is not durable",
                status.compact_revision,
                left.unwrap_or_default()
            ),
        );
    }
    for one in &status.certificates {
        let expires = time(one.expires_unix_ms).unwrap_or_default();
        line(
            "certificate",
            format!("{} ({}) expires {expires}", one.usage, one.place),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn ms(ms: i64) -> String {
    words(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

fn age(unix_ms: i64, now: DateTime<Utc>) -> String {
    if unix_ms == 0 {
        return String::new();
    }
    format!(", for {}", ms(now.timestamp_millis() - unix_ms))
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::agent_api::{Base, Reason};

    use super::*;

    #[test]
    fn what_is_wrong_stands_under_the_verdict() {
        let now = "2026-11-21T14:31:00Z".parse::<DateTime<Utc>>().unwrap();
        let status = StatusResponse {
            cluster: "prod".to_owned(),
            timeline: "0001".to_owned(),
            phase: "watching".to_owned(),
            role: "follows".to_owned(),
            phase_since_unix_ms: now.timestamp_millis() - 65_000,
            reasons: vec![Reason {
                code: "vault_away".to_owned(),
                message: "no route".to_owned(),
            }],
            source_revision: 20,
            durable_revision: 15,
            lag_revisions: 5,
            lag_ms: 61_500,
            last_base: Some(Base {
                revision: 9,
                compact_revision: 2,
                taken_unix_ms: now.timestamp_millis(),
            }),
            headroom_revisions: Some(14),
            headroom_ms: Some(239_000),
            compact_revision: 2,
            ..StatusResponse::default()
        };
        assert_eq!(
            as_text(&status, now),
            "cluster           prod, timeline 0001\n\
             state             watching, for 1m 5s\n\
             role              follows another agent, which uploads\n\
             healthy           no\n                  vault_away: no route\n\
             source revision   20\n\
             durable revision  15, 5 behind for 1m 1s\n\
             last base         9, 2026-11-21T14:31:00Z\n\
             gaps              none since the agent started\n\
             compaction        at 2; 14 revisions, about 3m 59s until one goes that is not durable"
        );
        let json = as_json(&status);
        assert_eq!(json["last_base"]["taken"], "2026-11-21T14:31:00Z");
        assert_eq!(json["vault_error"], Value::Null);
    }
}
