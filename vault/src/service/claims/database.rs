//! Claims as rows.

use chrono::{DateTime, Utc};

use super::LEASE;
use crate::catalog::Catalog;
use crate::error::VaultError;

fn until(now: DateTime<Utc>) -> i64 {
    let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
    now.timestamp_millis().saturating_add(lease)
}

impl Catalog {
    pub(super) async fn claim(
        &self,
        job: &str,
        slot: DateTime<Utc>,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, VaultError> {
        // A later slot takes the row once the work on the one before is done or its holder is silent; the same slot only in
        // the latter case.
        let sql = "INSERT INTO leases (job, slot, holder, until_ms, done) VALUES ($1, $2, $3, $4, 0) \
                   ON CONFLICT (job) DO UPDATE SET slot = excluded.slot, holder = excluded.holder, \
                   until_ms = excluded.until_ms, done = 0 \
                   WHERE (leases.slot < excluded.slot AND (leases.done = 1 OR leases.until_ms < $5)) \
                   OR (leases.slot = excluded.slot AND leases.done = 0 AND leases.until_ms < $5)";
        let values = [
            job.into(),
            slot.timestamp().into(),
            holder.into(),
            until(now).into(),
            now.timestamp_millis().into(),
        ];
        self.change(sql, &values).await.map(|changed| changed > 0)
    }

    pub(super) async fn renew(
        &self,
        job: &str,
        slot: DateTime<Utc>,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, VaultError> {
        let sql = "UPDATE leases SET until_ms = $4 WHERE job = $1 AND slot = $2 AND holder = $3 AND done = 0";
        let values = [
            job.into(),
            slot.timestamp().into(),
            holder.into(),
            until(now).into(),
        ];
        self.change(sql, &values).await.map(|changed| changed > 0)
    }

    pub(super) async fn release(
        &self,
        job: &str,
        slot: DateTime<Utc>,
        holder: &str,
        done: bool,
    ) -> Result<(), VaultError> {
        let sql = "UPDATE leases SET done = $4, until_ms = 0 WHERE job = $1 AND slot = $2 AND holder = $3";
        let values = [
            job.into(),
            slot.timestamp().into(),
            holder.into(),
            done.into(),
        ];
        self.change(sql, &values).await.map(|_| ())
    }
}
