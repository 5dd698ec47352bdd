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

impl UsageLine {
    /// Whether both count the same kind, level and age.
    fn is_like(&self, other: &Self) -> bool {
        (&self.kind, self.level, &self.age) == (&other.kind, other.level, &other.age)
    }
}

/// The age of what was stored `days` ago.
fn age(days: i64) -> &'static str {
    let found = AGES.iter().find(|(_, from)| days < *from);
    found.map_or("older", |(age, _)| age)
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
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut of = "";
        if let Some(scope) = cluster {
            values.push(scope.find_cluster(&mut tx).await?.into());
            of = "WHERE cluster_id = $1";
        }
        // By day and not by age, which no index knows; there are few days.
        let sql = format!(
            "SELECT kind, level, day, CAST(SUM(objects) AS BIGINT), CAST(SUM(bytes) AS BIGINT) FROM stored {of} \
             GROUP BY kind, level, day ORDER BY kind, level, day DESC"
        );
        let today = now_ms.div_euclid(DAY_MS);
        let mut lines: Vec<UsageLine> = Vec::new();
        for row in tx.all(sqlx::AssertSqlSafe(sql), &values).await? {
            let line = UsageLine {
                kind: row.text(0)?,
                level: u8::try_from(row.int(1)?).unwrap_or(u8::MAX),
                age: age(today.saturating_sub(row.int(2)?)).to_owned(),
                objects: row.count(3)?,
                bytes: row.count(4)?,
            };
            match lines.last_mut() {
                Some(last) if last.is_like(&line) => {
                    last.objects += line.objects;
                    last.bytes += line.bytes;
                }
                _ => lines.push(line),
            }
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
