//! `/health`, `/livez`, `/readyz` (etcd, `server/etcdserver/api/etcdhttp/health.go`).

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use revkeep_schemas::etcd_api::etcdserverpb::AlarmType;
use serde::Serialize;
use tokio::time::timeout;

use super::Metrics;
use super::front::text;
use crate::error::{Result, StoreError};
use crate::rpc::Engine;

#[derive(Serialize)]
struct Health {
    health: &'static str,
    reason: String,
}

/// `/health`: alarms, a leader, a linearizable read. `?exclude=ALARM` passes over an alarm, `?serializable=true` asks for
/// this member alone.
pub(super) async fn health(engine: &Engine, metrics: &Metrics, query: &str) -> Response<Body> {
    let reason = ill(engine, query).await;
    metrics.health(reason.is_none());
    let (status, health, end) = match reason {
        None => (StatusCode::OK, "true", ""),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "false", "\n"),
    };
    let health = Health {
        health,
        reason: reason.unwrap_or_default(),
    };
    let body = serde_json::to_string(&health).unwrap_or_default();
    text(status, body + end)
}

async fn ill(engine: &Engine, query: &str) -> Option<String> {
    let excluded: Vec<_> = values(query, "exclude").collect();
    for alarm in engine.shared().alarms.list(AlarmType::None) {
        let name = alarm.alarm().as_str_name();
        if !excluded.contains(&name) {
            tracing::warn!(alarm = name, "not healthy: an alarm is raised");
            return Some(format!("ALARM {name}"));
        }
    }
    let serializable = values(query, "serializable").any(|value| value == "true");
    if !serializable && engine.leadership().leader.is_none() {
        tracing::warn!("not healthy: no leader");
        return Some("RAFT NO LEADER".to_owned());
    }
    let limit = engine.options().request_timeout;
    let error = read(engine, serializable, limit).await.err()?;
    tracing::warn!(%error, "not healthy: a read fails");
    Some(format!("RANGE ERROR:{error}"))
}

async fn read(engine: &Engine, serializable: bool, limit: Duration) -> Result<()> {
    if serializable {
        // What is in memory can always be read.
        return Ok(());
    }
    match timeout(limit, engine.raft().read_index()).await {
        Ok(read) => read,
        Err(_) => Err(StoreError::DeadlineExceeded),
    }
}

/// `/livez` and `/readyz`, all their checks or the one that the path names; `?exclude=NAME` passes over one, `?verbose`
/// lists them.
pub(super) async fn check(
    engine: &Engine,
    metrics: &Metrics,
    path: &str,
    query: &str,
) -> Response<Body> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let kind = parts.next().unwrap_or_default();
    let all: &[&str] = match kind {
        "livez" => &["serializable_read"],
        _ => &[
            "data_corruption",
            "serializable_read",
            "linearizable_read",
            "non_learner",
        ],
    };
    let excluded: Vec<_> = values(query, "exclude").collect();
    let one = parts.next();
    if one.is_some_and(|one| !all.contains(&one)) {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let asked = |check: &&str| match one {
        Some(one) => *check == one,
        None => !excluded.contains(check),
    };
    let checks = all.iter().copied().filter(asked);
    let mut report = String::new();
    let mut failed = false;
    for check in checks {
        let outcome = run(engine, check).await;
        metrics.check(kind, check, outcome.is_ok());
        failed |= outcome.is_err();
        // Writing to a string cannot fail.
        let _ = match outcome {
            Ok(()) => writeln!(report, "[+]{check} ok"),
            Err(error) => writeln!(report, "[-]{check} failed: {error}"),
        };
    }
    if failed {
        tracing::error!(path, report, "a health check failed");
        return text(StatusCode::SERVICE_UNAVAILABLE, report + "\n");
    }
    let verbose = query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("verbose"));
    if !verbose {
        report.clear();
    }
    text(StatusCode::OK, report + "ok\n")
}

async fn run(engine: &Engine, check: &str) -> Result<(), String> {
    let limit = engine.options().request_timeout;
    match check {
        "data_corruption" if engine.shared().alarms.is_raised(AlarmType::Corrupt) => {
            Err("alarm activated: CORRUPT".to_owned())
        }
        "non_learner" if engine.is_learner() => Err("not supported for learner".to_owned()),
        "linearizable_read" => read(engine, false, limit)
            .await
            .map_err(|error| error.message()),
        _ => Ok(()),
    }
}

/// The values of a query's parameter, as they stand there: names of alarms and checks need no decoding.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_may_come_more_than_once() {
        let query = "exclude=NOSPACE&serializable=true&exclude=CORRUPT&exclude=";
        let excluded: Vec<_> = values(query, "exclude").collect();
        assert_eq!(excluded, ["NOSPACE", "CORRUPT"]);
    }
}
