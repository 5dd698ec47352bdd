//! `/metrics`: names begin with `revkeep_`, units are seconds and bytes, labels are few.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use revkeep_schemas::exposition::prometheus_text;

use super::handle::StatusHandle;
use super::tally::{Count, Kind};
use super::{Phase, Report};

/// The content type of the text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is measured, asked for when it is scraped.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub(super) fn new(status: Arc<StatusHandle>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape { status }));
        Self { registry }
    }

    /// All of it, in Prometheus' text format.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(prometheus_text(&text))
    }
}

#[derive(Debug)]
struct Scrape {
    status: Arc<StatusHandle>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut lines = Lines { encoder };
        let report = self.status.report();
        lines.state(&report)?;
        lines.revisions(&report)?;
        lines.bases(&report)?;
        lines.objects(&report)?;
        lines.spool(&report)?;
        lines.compaction(&report)?;
        lines.source(&report)?;
        lines.certificates(&report)
    }
}

/// One kind of thing a function; what a new part of the agent measures gets one of its own.
struct Lines<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Lines<'_> {
    fn state(&mut self, report: &Report) -> Result<(), fmt::Error> {
        self.family(
            "revkeep_build_info",
            "The agent's version, as a label",
            MetricType::Gauge,
            [(
                vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
                ConstGauge::new(1i64),
            )],
        )?;
        if let Some(timeline) = report.timeline {
            let labels = vec![
                ("cluster", report.cluster.clone()),
                ("timeline", timeline.to_string()),
            ];
            self.family(
                "revkeep_timeline_info",
                "The cluster and the timeline that are captured, as labels",
                MetricType::Gauge,
                [(labels, ConstGauge::new(1i64))],
            )?;
        }
        for (name, help, is) in [
            (
                "revkeep_healthy",
                "Whether nothing stands against a good backup",
                report.is_healthy(),
            ),
            (
                "revkeep_watching",
                "Whether every change of the source arrives as it happens",
                report.phase == Phase::Watching,
            ),
            (
                "revkeep_source_answers",
                "Whether the source answered the last linearizable read, one every few seconds, in time",
                report.source_error.is_none() && report.source_latency.is_some(),
            ),
            (
                "revkeep_uploads_for_all",
                "Whether this agent uploads; 0 while it follows another one that does",
                report.role == "uploads",
            ),
            (
                "revkeep_diverged",
                "Whether nothing of the member is stored, because its content is not that of its cluster",
                report.diverged.is_some(),
            ),
            (
                "revkeep_vault_answers",
                "Whether the object store took what it was given last",
                report.vault_error.is_none(),
            ),
        ] {
            self.gauge(name, help, is.into())?;
        }
        if let Some(latency) = report.source_latency {
            self.seconds(
                "revkeep_source_read_seconds",
                "How long the source took for the last linearizable read that it answered",
                latency.as_secs_f64(),
            )?;
        }
        Ok(())
    }

    fn revisions(&mut self, report: &Report) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            (
                "revkeep_source_revision",
                "The newest revision that the source is known to have",
                report.source.0,
            ),
            (
                "revkeep_durable_revision",
                "The newest revision that can be brought back, as the object store acknowledged; 0 before the first base",
                report.durable.0,
            ),
            (
                "revkeep_lag_revisions",
                "Revisions of the source that are not durable",
                report.lag_revisions(),
            ),
        ] {
            self.gauge(name, help, value)?;
        }
        self.seconds(
            "revkeep_lag_seconds",
            "For how long the oldest revision that is not durable has been waiting",
            report.lag.as_secs_f64(),
        )
    }

    fn bases(&mut self, report: &Report) -> Result<(), fmt::Error> {
        if let Some(base) = report.last_base {
            self.gauge(
                "revkeep_last_base_revision",
                "The revision of the newest base",
                base.revision.0,
            )?;
            self.seconds(
                "revkeep_last_base_timestamp_seconds",
                "When the snapshot of the newest base was complete, since 1970",
                seconds(base.taken_unix_ms),
            )?;
        }
        if let Some(snapshot) = report.last_snapshot {
            self.seconds(
                "revkeep_snapshot_duration_seconds",
                "How long the member had to send the last snapshot",
                seconds(snapshot.duration_ms),
            )?;
            self.gauge(
                "revkeep_snapshot_size_bytes",
                "The size of the database file in the last snapshot",
                i64::try_from(snapshot.bytes).unwrap_or(i64::MAX),
            )?;
        }
        self.counter(
            "revkeep_snapshots",
            "Snapshots that were taken of the source",
            report.snapshots,
        )
    }

    fn objects(&mut self, report: &Report) -> Result<(), fmt::Error> {
        let each = |value: fn(Count) -> u64| {
            Kind::ALL.map(|kind| {
                let labels = vec![("kind", kind.word().to_owned())];
                (labels, ConstCounter::new(value(report.tally.of(kind))))
            })
        };
        self.family(
            "revkeep_uploads",
            "Objects that the object store acknowledged",
            MetricType::Counter,
            each(|count| count.stored),
        )?;
        self.family(
            "revkeep_upload_retries",
            "Tries that failed and are made again",
            MetricType::Counter,
            each(|count| count.failed),
        )?;
        for (name, help, value) in [
            (
                "revkeep_gaps",
                "Ranges of revisions that were found lost",
                report.gaps.found,
            ),
            (
                "revkeep_gaps_recorded",
                "Lost ranges that are recorded in the vault",
                report.gaps.recorded,
            ),
            (
                "revkeep_lost_revisions",
                "Revisions in the lost ranges that are recorded",
                report.gaps.revisions,
            ),
        ] {
            self.counter(name, help, value)?;
        }
        Ok(())
    }

    fn spool(&mut self, report: &Report) -> Result<(), fmt::Error> {
        let load = report.spool;
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, help, value) in [
            (
                "revkeep_spool_segments",
                "Sealed segments that wait for the object store",
                number(load.segments as u64),
            ),
            (
                "revkeep_spool_bytes",
                "Bytes of them, and of what else lies in the spool",
                number(load.bytes),
            ),
            (
                "revkeep_spool_limit_bytes",
                "Bytes that may wait",
                number(load.limit),
            ),
            (
                "revkeep_spool_discards",
                "Whether changes are not kept, because the spool was full and no base was taken since",
                load.last_kept.is_some().into(),
            ),
        ] {
            self.gauge(name, help, value)?;
        }
        Ok(())
    }

    fn compaction(&mut self, report: &Report) -> Result<(), fmt::Error> {
        self.gauge(
            "revkeep_source_compact_revision",
            "The source's compact revision; 0 while it is not compacted",
            report.compact.0,
        )?;
        if let Some(revisions) = report.headroom_revisions {
            self.gauge(
                "revkeep_compaction_headroom_revisions",
                "Revisions that the source may still compact before one goes that is not durable",
                revisions,
            )?;
        }
        if let Some(headroom) = report.headroom {
            self.seconds(
                "revkeep_compaction_headroom_seconds",
                "How long until the source compacts what is not durable, by the compactions that were seen",
                headroom.as_secs_f64(),
            )?;
        }
        Ok(())
    }

    fn source(&mut self, report: &Report) -> Result<(), fmt::Error> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(condition) = &report.condition {
            for (name, help, value) in [
                (
                    "revkeep_source_db_bytes",
                    "The size of the member's database file",
                    Some(condition.db_bytes),
                ),
                (
                    "revkeep_source_db_used_bytes",
                    "The bytes of it that are in use; the rest is free, and a defragmentation gives it back",
                    Some(condition.used_bytes),
                ),
                (
                    "revkeep_source_quota_bytes",
                    "The most that the file may have, where the member tells it",
                    condition.quota_bytes,
                ),
            ] {
                if let Some(value) = value {
                    self.gauge(name, help, number(value))?;
                }
            }
        }
        let set = ["NOSPACE", "CORRUPT"].map(|kind| {
            let alarms = report.alarms.iter();
            let set = alarms.filter(|alarm| alarm.kind == kind).count();
            let labels = vec![("alarm", kind.to_owned())];
            (labels, ConstGauge::new(number(set as u64)))
        });
        self.family(
            "revkeep_source_alarms",
            "Members of the source that have set this alarm",
            MetricType::Gauge,
            set,
        )?;
        self.counter(
            "revkeep_defragmented_members",
            "Members of the source that this agent had defragmented",
            report.upkeep.defragmented,
        )?;
        self.counter(
            "revkeep_defragmentation_failures",
            "Defragmentations that ended early",
            report.upkeep.failed,
        )
    }

    fn certificates(&mut self, report: &Report) -> Result<(), fmt::Error> {
        let ends = report.certificates.iter();
        let ends: Vec<_> = ends
            .map(|one| {
                let labels = vec![("usage", one.usage.word().to_owned())];
                (labels, ConstGauge::new(seconds(one.unix_ms)))
            })
            .collect();
        if ends.is_empty() {
            return Ok(());
        }
        self.family(
            "revkeep_certificate_expiry_timestamp_seconds",
            "When the certificates expire that the agent shows, trusts and is shown, since 1970",
            MetricType::Gauge,
            ends,
        )
    }

    /// A metric with labels.
    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, M)>,
    ) -> Result<(), fmt::Error> {
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in samples {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> Result<(), fmt::Error> {
        let kind = MetricType::Gauge;
        let metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        ConstGauge::new(value).encode(metric)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result<(), fmt::Error> {
        let kind = MetricType::Gauge;
        let metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        ConstGauge::new(value).encode(metric)
    }

    /// Its name gets the ending `_total`.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        let kind = MetricType::Counter;
        let metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        ConstCounter::new(value).encode(metric)
    }
}

/// Milliseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact to the millisecond for 200,000 years"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
