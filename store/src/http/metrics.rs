//! `/metrics`, under etcd's names where the meaning is the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use revkeep_schemas::exposition::prometheus_text;

use super::front::text;
use crate::rpc::{Calls, Engine};
use crate::server::{API_VERSION, Operations, SyncTimes};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a member measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: Arc<Checks>,
}

/// The outcomes of health checks.
#[derive(Debug, Default)]
struct Checks {
    healthy: AtomicU64,
    ill: AtomicU64,
    /// By kind, name and outcome.
    runs: Mutex<BTreeMap<(String, String, bool), u64>>,
}

impl Metrics {
    /// The measures of a member, of the calls it answered and of its disk.
    pub fn new(
        engine: &Arc<Engine>,
        calls: Calls,
        syncs: SyncTimes,
        operations: Arc<Operations>,
    ) -> Self {
        let checks = Arc::new(Checks::default());
        let mut registry = Registry::default();
        registry.register(
            "etcd_disk_wal_fsync_duration_seconds",
            "How long syncs of the log took",
            syncs.log,
        );
        registry.register(
            "etcd_disk_backend_commit_duration_seconds",
            "How long syncs of the state took",
            syncs.state,
        );
        registry.register_collector(Box::new(Member {
            engine: Arc::clone(engine),
            operations,
        }));
        registry.register_collector(Box::new(Arc::clone(&checks)));
        registry.register_collector(Box::new(calls));
        Self { registry, checks }
    }

    /// Counts an answer to `/health`.
    pub(super) fn health(&self, healthy: bool) {
        let counter = if healthy {
            &self.checks.healthy
        } else {
            &self.checks.ill
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a run of one check of `/livez` or `/readyz`.
    pub(super) fn check(&self, kind: &str, name: &str, passed: bool) {
        let key = (kind.to_owned(), name.to_owned(), passed);
        *self.checks.runs.lock().entry(key).or_default() += 1;
    }

    /// All of it, in the text format.
    pub(super) fn answer(&self) -> Response<Body> {
        let mut body = String::new();
        if let Err(error) = encode(&mut body, &self.registry) {
            return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        }
        let mut response = Response::new(Body::from(prometheus_text(&body)));
        response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
        response
    }
}

impl Collector for Checks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Counters by nature; etcd's names for them lack the ending that the format asks of a counter.
        for (name, help, value) in [
            (
                "etcd_server_health_success",
                "Successful health checks",
                &self.healthy,
            ),
            (
                "etcd_server_health_failures",
                "Failed health checks",
                &self.ill,
            ),
        ] {
            gauge(&mut encoder, name, help, &[], value.load(Ordering::Relaxed))?;
        }
        let runs = self.runs.lock();
        let mut family = encoder.encode_descriptor(
            "etcd_server_healthchecks",
            "Runs of each health check",
            None,
            MetricType::Counter,
        )?;
        for ((kind, name, passed), count) in &*runs {
            let status = if *passed { "success" } else { "error" };
            let labels = [
                ("type", kind.as_str()),
                ("name", name.as_str()),
                ("status", status),
            ];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What is asked of the member when it is scraped.
#[derive(Debug)]
struct Member {
    engine: Arc<Engine>,
    operations: Arc<Operations>,
}

impl Collector for Member {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.standing(&mut encoder)?;
        self.sizes(&mut encoder)?;
        self.counters(&mut encoder)
    }
}

/// Name, help, labels, value.
type Line<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u64);

fn gauges(encoder: &mut DescriptorEncoder<'_>, lines: &[Line<'_>]) -> Result<(), fmt::Error> {
    lines
        .iter()
        .try_for_each(|(name, help, labels, value)| gauge(encoder, name, help, labels, *value))
}

impl Member {
    /// How the member stands in its cluster.
    fn standing(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let engine = &self.engine;
        let raft = engine.raft().status();
        let shared = engine.shared();
        let member = format!("{:x}", raft.member_id);
        let cluster_version = shared.members.cluster_version().unwrap_or_default();
        let cluster_version = cluster_version.trim_end_matches(".0");
        let lines: &[Line<'_>] = &[
            (
                "etcd_server_has_leader",
                "Whether a leader is known",
                &[],
                raft.leader.is_some().into(),
            ),
            (
                "etcd_server_is_leader",
                "Whether this member leads",
                &[],
                engine.leadership().is_leader().into(),
            ),
            (
                "etcd_server_is_learner",
                "Whether this member is a learner",
                &[],
                engine.is_learner().into(),
            ),
            (
                "etcd_server_id",
                "This member",
                &[("server_id", &member)],
                1,
            ),
            (
                "etcd_server_version",
                "The release",
                &[("server_version", API_VERSION)],
                1,
            ),
            (
                "etcd_cluster_version",
                "The version that the cluster has agreed on",
                &[("cluster_version", cluster_version)],
                1,
            ),
            (
                "etcd_server_proposals_committed_total",
                "Entries agreed on",
                &[],
                raft.committed,
            ),
            (
                "etcd_server_proposals_applied_total",
                "Entries applied",
                &[],
                raft.applied,
            ),
            (
                "etcd_server_proposals_pending",
                "Proposals that wait",
                &[],
                raft.pending,
            ),
        ];
        gauges(encoder, lines)
    }

    /// How much there is of everything.
    fn sizes(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let engine = &self.engine;
        let shared = engine.shared();
        let watches = shared.watchers.stats();
        let quota = engine.options().quota.limit_bytes().unwrap_or(0);
        let lines: &[Line<'_>] = &[
            (
                "etcd_server_quota_backend_bytes",
                "The bound on the database's size",
                &[],
                quota,
            ),
            (
                "etcd_mvcc_db_total_size_in_bytes",
                "The size of the database",
                &[],
                shared.backend.size_bytes(),
            ),
            (
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "What of it is in use",
                &[],
                shared.backend.size_in_use_bytes(),
            ),
            (
                "etcd_debugging_mvcc_current_revision",
                "The current revision",
                &[],
                unsigned(shared.mvcc.revision()),
            ),
            (
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction",
                &[],
                unsigned(shared.mvcc.compact_revision()),
            ),
            (
                "etcd_debugging_mvcc_keys_total",
                "Keys",
                &[],
                shared.mvcc.indexed_keys() as u64,
            ),
            (
                "etcd_debugging_mvcc_watch_stream_total",
                "Streams of watchers",
                &[],
                watches.streams as u64,
            ),
            (
                "etcd_debugging_mvcc_watcher_total",
                "Watchers",
                &[],
                watches.watchers as u64,
            ),
            (
                "etcd_debugging_mvcc_slow_watcher_total",
                "Watchers that are behind",
                &[],
                watches.slow_watchers as u64,
            ),
            (
                "process_resident_memory_bytes",
                "Memory of the process",
                &[],
                resident_bytes().unwrap_or(0),
            ),
            (
                "etcd_debugging_auth_revision",
                "The revision of users and rights",
                &[],
                shared.auth.revision(),
            ),
        ];
        gauges(encoder, lines)
    }

    /// How often everything has happened.
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let engine = &self.engine;
        let operations = &self.operations;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let raft = engine.raft().status();
        for (name, help, value) in [
            (
                "etcd_server_leader_changes_seen",
                "Changes of the leader",
                raft.leader_changes,
            ),
            (
                "etcd_server_proposals_failed",
                "Proposals that came to nothing",
                raft.failed_proposals,
            ),
            ("etcd_mvcc_put", "Puts", read(&operations.puts)),
            ("etcd_mvcc_delete", "Deletions", read(&operations.deletes)),
            (
                "etcd_mvcc_range",
                "Reads",
                read(&operations.ranges) + engine.ranges(),
            ),
            (
                "etcd_mvcc_txn",
                "Transactions of more than one operation",
                read(&operations.txns),
            ),
            (
                "etcd_debugging_lease_granted",
                "Leases granted",
                read(&operations.leases_granted),
            ),
            (
                "etcd_debugging_lease_revoked",
                "Leases ended",
                read(&operations.leases_revoked),
            ),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    labels: &[(&str, &str)],
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    if labels.is_empty() {
        gauge.encode(metric)
    } else {
        gauge.encode(metric.encode_family(&labels)?)
    }
}

/// What the system says of this process's memory; `None` where it says nothing.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
