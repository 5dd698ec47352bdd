//! How much is held.

use serde::Serialize;

use super::super::database::Value;
use super::super::open::Catalog;
use super::scope::Scope;
use crate::error::VaultError;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Ages, each with the days from which on the next one counts.
const AGES: [(&str, i64); 5] = [
    ("day", 1),
    ("week", 7),
    ("month", 31),
    ("year", 366),
    ("older", i64::MAX),
];

/// Objects and bytes of one kind, level and age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageLine {
    /// `base` (manifests), `chunk` (the rows of bases), `segment`, `gap`, `pin` or `timeline`.
    pub kind: String,
    /// The level of segments, else 0.
    pub level: u8,
    /// Stored within a `day`, a `week`, a `month`, a `year`, or `older`, by whole days of UTC.
    pub age: String,
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How much is held of a cluster, or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageAnswer {
    /// The cluster; none: all of them.
    pub cluster: Option<String>,
    /// Objects of all lines.
    pub objects: u64,
    /// Bytes of all lines.
    pub bytes: u64,
    /// By kind, level and age.
    pub lines: Vec<UsageLine>,
}

/// How much is held of one of many clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterUsage {
    /// The cluster.
    pub cluster: String,
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Catalog {
    /// How much is held of a cluster, or of all, by kind, level and age at a time.
    ///
    /// # Errors
    /// `NotFound` for a cluster that the catalog does not know; as the database fails.
    pub async fn usage(
        &self,
        cluster: Option<&Scope>,
        now_ms: i64,
    ) -> Result<UsageAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let today = now_ms.div_euclid(DAY_MS);
        let mut cases = String::new();
        for (at, (_, days)) in AGES.iter().enumerate() {
            if *days < i64::MAX {
                cases = format!("{cases} WHEN day > $1 - {days} THEN {at}");
            }
        }
        let last = AGES.len() - 1;
        let mut values: Vec<Value<'_>> = vec![today.into()];
        let mut of = "";
        if let Some(scope) = cluster {
            values.push(scope.find_cluster(&mut tx).await?.into());
            of = "WHERE cluster_id = $2";
        }
        let sql = format!(
            "SELECT kind, level, age, CAST(SUM(objects) AS BIGINT), CAST(SUM(bytes) AS BIGINT) FROM \
             (SELECT kind, level, objects, bytes, CAST(CASE{cases} ELSE {last} END AS BIGINT) AS age FROM stored {of}) AS aged \
             GROUP BY kind, level, age ORDER BY kind, level, age"
        );
        let mut lines = Vec::new();
        for row in tx.all(sqlx::AssertSqlSafe(sql), &values).await? {
            let age = usize::try_from(row.int(2)?)
                .ok()
                .and_then(|at| AGES.get(at));
            lines.push(UsageLine {
                kind: row.text(0)?,
                level: u8::try_from(row.int(1)?).unwrap_or(u8::MAX),
                age: age.map_or("older", |age| age.0).to_owned(),
                objects: row.count(3)?,
                bytes: row.count(4)?,
            });
        }
        Ok(UsageAnswer {
            cluster: cluster.map(|scope| scope.cluster.to_string()),
            objects: lines.iter().map(|line| line.objects).sum(),
            bytes: lines.iter().map(|line| line.bytes).sum(),
            lines,
        })
    }

    /// Bytes of all clusters.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn total_bytes(&self) -> Result<u64, VaultError> {
        let mut tx = self.reading().await?;
        let sql = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM clusters";
        let row = tx.one(sql, &[]).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    /// The clusters that hold most, most first.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn largest(&self, limit: u32) -> Result<Vec<ClusterUsage>, VaultError> {
        let mut tx = self.reading().await?;
        let sql = "SELECT name, objects, bytes FROM clusters ORDER BY bytes DESC, name LIMIT $1";
        let rows = tx.all(sql, &[i64::from(limit).into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(ClusterUsage {
                    cluster: row.text(0)?,
                    objects: row.count(1)?,
                    bytes: row.count(2)?,
                })
            })
            .collect()
    }
}
