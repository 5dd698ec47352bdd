//! The tables that a sync inserts into, column by column, as `schemas/migrations` make them.

use super::super::database::Table;

/// Timelines.
pub(super) const TIMELINES: Table = Table {
    name: "timelines",
    columns: &[
        "cluster_id",
        "timeline",
        "parent",
        "fork_revision",
        "fork_at_most",
        "source_cluster_id",
        "etcd_version",
        "first_seen_ms",
        "bytes",
        "stored_ms",
    ],
    then: "",
};

/// Bases.
pub(super) const BASES: Table = Table {
    name: "bases",
    columns: &[
        "cluster_id",
        "timeline",
        "revision",
        "uid",
        "compact_revision",
        "bytes",
        "stored_ms",
        "started_ms",
        "finished_ms",
        "rows",
        "plain_bytes",
        "chunk_bytes",
        "chunks",
        "etcd_version",
    ],
    then: "",
};

/// Segments.
pub(super) const SEGMENTS: Table = Table {
    name: "segments",
    columns: &[
        "cluster_id",
        "timeline",
        "first",
        "last",
        "level",
        "uid",
        "bytes",
        "stored_ms",
        "rows",
        "plain_bytes",
        "first_ms",
        "last_ms",
        "min_key",
        "max_key",
        "marks",
    ],
    then: "",
};

/// Gaps.
pub(super) const GAPS: Table = Table {
    name: "gaps",
    columns: &[
        "cluster_id",
        "timeline",
        "first",
        "last",
        "uid",
        "reason",
        "distrusted",
        "bytes",
        "stored_ms",
    ],
    then: "",
};

/// HashKV that the source reported.
pub(super) const CHECKPOINTS: Table = Table {
    name: "checkpoints",
    columns: &[
        "cluster_id",
        "timeline",
        "revision",
        "compact_revision",
        "hash",
        "uid",
    ],
    then: "ON CONFLICT DO NOTHING",
};

/// Objects that cannot be used.
pub(super) const DAMAGED: Table = Table {
    name: "damaged",
    columns: &["cluster_id", "name", "kind", "reason", "bytes", "stored_ms"],
    then: "ON CONFLICT (cluster_id, name) DO UPDATE SET kind = excluded.kind, reason = excluded.reason, \
           bytes = excluded.bytes, stored_ms = excluded.stored_ms",
};

/// Pins.
pub(super) const PINS: Table = Table {
    name: "pins",
    columns: &[
        "cluster_id",
        "name",
        "timeline",
        "revision",
        "reason",
        "created_ms",
        "expires_ms",
        "bytes",
        "stored_ms",
    ],
    then: "",
};

/// Receipts.
pub(super) const VERIFICATIONS: Table = Table {
    name: "verifications",
    columns: &[
        "cluster_id",
        "name",
        "kind",
        "timeline",
        "revision",
        "started_ms",
        "ended_ms",
        "ok",
        "objects",
        "bytes",
        "detail",
        "receipt_bytes",
        "stored_ms",
    ],
    then: "",
};

/// Rounds of deletions.
pub(super) const ROUNDS: Table = Table {
    name: "retention_runs",
    columns: &[
        "cluster_id",
        "round",
        "marked_ms",
        "verdict_ms",
        "sweep_ms",
        "swept_ms",
        "taken_back",
        "bases",
        "segments",
        "chunks",
        "bytes",
    ],
    then: "ON CONFLICT (cluster_id, round) DO UPDATE SET marked_ms = excluded.marked_ms, verdict_ms = excluded.verdict_ms, \
           sweep_ms = excluded.sweep_ms, swept_ms = excluded.swept_ms, taken_back = excluded.taken_back, \
           bases = excluded.bases, segments = excluded.segments, chunks = excluded.chunks, bytes = excluded.bytes",
};

/// Objects and bytes by kind, level and day.
pub(super) const STORED: Table = Table {
    name: "stored",
    columns: &["cluster_id", "kind", "level", "day", "objects", "bytes"],
    then: "ON CONFLICT (cluster_id, kind, level, day) DO UPDATE SET objects = stored.objects + excluded.objects, \
           bytes = stored.bytes + excluded.bytes",
};
