//! The names that etcd's dashboards ask for.

use crate::suite::*;
use std::collections::BTreeMap;

pub(crate) fn group() -> Group {
    group!(
        "http::metrics",
        [
            names_and_types,
            puts_are_counted,
            calls_are_counted,
            gauges_tell_the_truth,
            the_content_type
        ]
    )
}

/// Names and types that mean the same here; etcd has more.
const NAMES: [(&str, &str); 29] = [
    ("etcd_cluster_version", "gauge"),
    ("etcd_debugging_mvcc_compact_revision", "gauge"),
    ("etcd_debugging_mvcc_current_revision", "gauge"),
    ("etcd_debugging_mvcc_keys_total", "gauge"),
    ("etcd_debugging_mvcc_slow_watcher_total", "gauge"),
    ("etcd_debugging_mvcc_watch_stream_total", "gauge"),
    ("etcd_debugging_mvcc_watcher_total", "gauge"),
    ("etcd_disk_backend_commit_duration_seconds", "histogram"),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
    ("etcd_mvcc_db_total_size_in_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge"),
    ("etcd_mvcc_delete_total", "counter"),
    ("etcd_mvcc_put_total", "counter"),
    ("etcd_mvcc_range_total", "counter"),
    ("etcd_mvcc_txn_total", "counter"),
    ("etcd_server_has_leader", "gauge"),
    ("etcd_server_id", "gauge"),
    ("etcd_server_is_leader", "gauge"),
    ("etcd_server_is_learner", "gauge"),
    ("etcd_server_leader_changes_seen_total", "counter"),
    ("etcd_server_proposals_applied_total", "gauge"),
    ("etcd_server_proposals_committed_total", "gauge"),
    ("etcd_server_proposals_failed_total", "counter"),
    ("etcd_server_proposals_pending", "gauge"),
    ("etcd_server_quota_backend_bytes", "gauge"),
    ("etcd_server_version", "gauge"),
    ("grpc_server_handled_total", "counter"),
    ("grpc_server_started_total", "counter"),
    ("process_resident_memory_bytes", "gauge"),
];

async fn scrape(case: &Case) -> Result<String> {
    let answer = http(case, "GET", "/metrics", "").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body)
}

/// The value of a series, labels and all; one without a line counts as nothing.
fn value(text: &str, series: &str) -> Result<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(line.map_or(Ok(0.0), str::parse)?)
}

async fn names_and_types(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let text = scrape(case).await?;
    let types: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let missing: Vec<_> = NAMES
        .iter()
        .filter(|(name, kind)| types.get(name) != Some(kind))
        .map(|(name, kind)| format!("{name} {kind}, not {:?}", types.get(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    Ok(())
}

async fn puts_are_counted(case: &mut Case) -> Result<()> {
    let before = value(&scrape(case).await?, "etcd_mvcc_put_total")?;
    for _ in 0..3 {
        case.put(put("k", "")).await?;
    }
    let after = value(&scrape(case).await?, "etcd_mvcc_put_total")?;
    assert!((after - before - 3.0).abs() < 0.5, "{before}, then {after}");
    Ok(())
}

async fn calls_are_counted(case: &mut Case) -> Result<()> {
    let series = r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;
    let before = value(&scrape(case).await?, series)?;
    case.put(put("k", "")).await?;
    let after = value(&scrape(case).await?, series)?;
    assert!((after - before - 1.0).abs() < 0.5, "{before}, then {after}");
    Ok(())
}

async fn gauges_tell_the_truth(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let text = scrape(case).await?;
    let revision = i32::try_from(case.revision().await?)?;
    let expected = [
        ("etcd_server_has_leader", 1.0),
        ("etcd_server_is_leader", 1.0),
        ("etcd_server_is_learner", 0.0),
        ("etcd_debugging_mvcc_current_revision", f64::from(revision)),
        ("etcd_debugging_mvcc_keys_total", 1.0),
        (r#"etcd_cluster_version{cluster_version="3.5"}"#, 1.0),
    ];
    for (series, expected) in expected {
        let told = value(&text, series)?;
        assert!((told - expected).abs() < 0.5, "{series} {told}");
    }
    assert!(value(&text, "etcd_mvcc_db_total_size_in_bytes")? > 0.0);
    Ok(())
}

async fn the_content_type(case: &mut Case) -> Result<()> {
    let answer = http(case, "GET", "/metrics", "").await?;
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    Ok(())
}
