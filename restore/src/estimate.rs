//! What a restore will take, as far as that can be known before.
//!
//! Requests and bytes are counted from the plan, so they are what the real run needs unless the store fails in between. Seconds
//! and money rest on the figures below, which the answer names.

use std::fmt;
use std::path::Path;

use revkeep_vault::Piece;

use crate::prepare::Prepared;
use crate::report::size;

/// What a store in the same region gives over several requests at once, in bytes a second.
const STORE_BYTES_PER_SECOND: u64 = 100 << 20;
/// What a request costs in time where requests are many and small, with several at once.
const SECONDS_PER_REQUEST: f64 = 0.01;
/// What two cores unpack, prove and write, in bytes of rows a second; reading back takes as long again.
const ROW_BYTES_PER_SECOND: u64 = 300 << 20;
/// List prices in USD: of 1000 GETs in each cloud's standard class, and of a GiB that leaves the cloud.
const GETS_USD: [(&str, f64); 3] = [("s3", 0.0004), ("gs", 0.0004), ("az", 0.0005)];
const GIB_OUT_USD: f64 = 0.09;
/// etcd's own quota where none is given (etcd, `server/storage/quota.go`).
pub const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;
/// Bytes of a db file besides its rows: the small buckets, the log, rounding.
const FIXED_BYTES: u64 = 1 << 20;
/// Bytes that the tree of a db file adds to each row.
const BYTES_PER_ROW: u64 = 18;

/// Requests to a store and the bytes of their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// Bytes of objects and of parts of them.
    pub bytes: u64,
}

impl Traffic {
    /// What the pieces take, each in one request.
    #[must_use]
    pub fn of<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Self {
        pieces.fold(Self::default(), |sum, piece| Self {
            requests: sum.requests + 1,
            bytes: sum.bytes.saturating_add(match piece {
                Piece::Chunk(chunk) => chunk.stored_bytes,
                Piece::Segment { entry, .. } => entry.bytes,
            }),
        })
    }
}

impl From<(u64, u64)> for Traffic {
    fn from((requests, bytes): (u64, u64)) -> Self {
        Self { requests, bytes }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} requests", size(self.bytes), self.requests)
    }
}

/// What a restore will take.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// What is fetched from the vault in all, planning included.
    pub fetches: Traffic,
    /// Seconds.
    pub seconds: f64,
    /// USD for the requests, where the store has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_usd: Option<f64>,
    /// USD if the bytes leave the cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_usd: Option<f64>,
    /// Bytes of disk at the target, at most.
    pub disk_bytes: u64,
    /// Bytes that are free there; `None` without a target.
    pub disk_free_bytes: Option<u64>,
}

impl Estimate {
    /// Estimates. `spent` is what planning has fetched, in `plan_seconds`.
    #[must_use]
    pub fn of(
        prepared: &Prepared,
        spent: Traffic,
        plan_seconds: f64,
        vault: &str,
        target: Option<&Path>,
    ) -> Self {
        let pieces = prepared.index_pieces.iter().chain(&prepared.pieces);
        let ahead = Traffic::of(pieces);
        let fetches = Traffic {
            requests: spent.requests + ahead.requests,
            bytes: spent.bytes.saturating_add(ahead.bytes),
        };
        let fetching = seconds(ahead.bytes, STORE_BYTES_PER_SECOND)
            .max(seconds(ahead.requests, 1) * SECONDS_PER_REQUEST);
        let row_bytes = prepared.report.plain_bytes;
        let working = seconds(prepared.total_bytes, ROW_BYTES_PER_SECOND);
        let reading_back = seconds(row_bytes, ROW_BYTES_PER_SECOND);
        let scheme = vault.split_once("://").map(|(scheme, _)| scheme);
        let price = GETS_USD.iter().find(|(name, _)| Some(*name) == scheme);
        let gibs = seconds(fetches.bytes, 1 << 30);
        Self {
            fetches,
            seconds: plan_seconds + fetching.max(working) + reading_back,
            requests_usd: price.map(|(_, usd)| seconds(fetches.requests, 1000) * usd),
            transfer_usd: price.map(|_| gibs * GIB_OUT_USD),
            disk_bytes: disk_bytes(prepared),
            disk_free_bytes: target.and_then(free_bytes),
        }
    }

    /// What has to be said of the disk and of a quota before anything is done.
    #[must_use]
    pub fn warnings(&self, quota_bytes: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(free) = self.disk_free_bytes.filter(|free| *free < self.disk_bytes) {
            warnings.push(format!(
                "the target may need {}, and {} are free there: free space, or give a target on another disk",
                size(self.disk_bytes),
                size(free)
            ));
        }
        if self.disk_bytes > quota_bytes {
            warnings.push(format!(
                "the database may come to {}, more than the quota of {}, with which etcd takes no writes. Try: etcd \
                 --quota-backend-bytes {}, or --compact-all",
                size(self.disk_bytes),
                size(quota_bytes),
                self.disk_bytes.saturating_mul(2)
            ));
        }
        warnings
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<17} {}", "fetches", self.fetches)?;
        writeln!(
            f,
            "{:<17} ≈ {:.0} s, at {} a second from the store and {} a second of rows",
            "takes",
            self.seconds.ceil(),
            size(STORE_BYTES_PER_SECOND),
            size(ROW_BYTES_PER_SECOND)
        )?;
        if let (Some(requests), Some(transfer)) = (self.requests_usd, self.transfer_usd) {
            writeln!(
                f,
                "{:<17} ≈ {requests:.4} USD of requests at list prices, and {transfer:.2} USD if the bytes leave the cloud",
                "costs"
            )?;
        }
        let free = self
            .disk_free_bytes
            .map(|free| format!("; {} are free", size(free)));
        writeln!(
            f,
            "{:<17} at most {}{}",
            "needs on disk",
            size(self.disk_bytes),
            free.unwrap_or_default()
        )
    }
}

/// How often `unit` goes into `amount`.
#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate: 2^53 bytes are exact enough"
)]
fn seconds(amount: u64, unit: u64) -> f64 {
    amount as f64 / unit as f64
}

/// All rows in full pages, and the rest. What compaction drops is not known before.
fn disk_bytes(prepared: &Prepared) -> u64 {
    let rows = prepared.report.plain_bytes;
    let buckets = prepared.buckets.iter().flat_map(|bucket| &bucket.entries);
    let buckets: u64 = buckets
        .map(|(key, value)| (key.len() + value.len()) as u64)
        .sum();
    let elements = prepared.report.rows.saturating_mul(BYTES_PER_ROW);
    let pages = rows.saturating_add(elements);
    pages
        .saturating_add(pages / 8)
        .saturating_add(buckets)
        .saturating_add(FIXED_BYTES)
}

/// The bytes that are free where a path is or will be.
fn free_bytes(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
