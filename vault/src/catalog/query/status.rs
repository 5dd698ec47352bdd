//! Which clusters are worst off, and why.

use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_schemas::names::TimelineId;
use serde::Serialize;

use super::super::database::{Row, Value};
use super::super::open::Catalog;
use crate::error::{ErrorKind, VaultError};

/// What a cluster is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// An agent says something at least so often.
    pub silent_after: Duration,
    /// What the source has is in the vault within this time.
    pub behind_after: Duration,
    /// A restore is proven at least so often; `None` where that is not asked for.
    pub proven_within: Option<Duration>,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            silent_after: Duration::from_secs(15 * 60),
            behind_after: Duration::from_secs(5 * 60),
            proven_within: None,
        }
    }
}

/// What is known of a cluster, from the catalog or from the vault alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterFacts {
    /// Its name.
    pub cluster: String,
    /// The newest timeline, of which the rest is.
    pub timeline: Option<String>,
    /// The oldest recovery point.
    pub minimum: Option<Revision>,
    /// The newest recovery point.
    pub maximum: Option<Revision>,
    /// When that was seen, by an agent's clock.
    pub maximum_seen_ms: Option<i64>,
    /// The newest base.
    pub base_revision: Option<Revision>,
    /// When the store took it.
    pub base_stored_ms: Option<i64>,
    /// Revisions that were lost, as agents recorded.
    pub lost: u64,
    /// Revisions that retention thinned out.
    pub thinned: u64,
    /// Revisions that are missing without a word.
    pub missing: u64,
    /// Objects that cannot be used.
    pub damaged: u64,
    /// Objects; 0 where that was not counted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When an agent last wrote the head.
    pub heartbeat_ms: Option<i64>,
    /// The revision at which the source stood then.
    pub source_revision: Option<Revision>,
    /// Since when the vault lacks a revision that the source had, by an agent's clock. From the vault alone, without a
    /// catalog that saw earlier heads: the earliest time that may be. None where nothing is known of that.
    pub behind_since_ms: Option<i64>,
    /// What the newest drill or verification found, where that is not that all is well.
    pub unsound: Option<String>,
    /// The last restore that was proven.
    pub proven_revision: Option<Revision>,
    /// When that was.
    pub proven_ms: Option<i64>,
    /// When all of this was read.
    pub synced_ms: Option<i64>,
    /// Why it could not be read the last time.
    pub error: Option<String>,
}

/// How bad it is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// All is well.
    Ok,
    /// Worth knowing.
    Notice,
    /// Something is to be done.
    Problem,
}

/// One word for a cluster, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// All is well.
    Ok,
    /// No restore was proven for longer than is asked for.
    Unproven,
    /// There are revisions that were lost.
    Gaps,
    /// The vault has not what the source has.
    Behind,
    /// No agent says anything.
    Silent,
    /// Objects cannot be used, or the cluster cannot be looked at.
    Damaged,
    /// Nothing can be restored.
    Unprotected,
}

impl Condition {
    /// All of them by their number in the catalog's question.
    const ALL: [Self; 7] = [
        Self::Ok,
        Self::Unproven,
        Self::Gaps,
        Self::Behind,
        Self::Silent,
        Self::Damaged,
        Self::Unprotected,
    ];

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unproven => "unproven",
            Self::Gaps => "gaps",
            Self::Behind => "behind",
            Self::Silent => "silent",
            Self::Damaged => "damaged",
            Self::Unprotected => "unprotected",
        }
    }

    /// How bad that is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Ok => Severity::Ok,
            Self::Unproven | Self::Gaps => Severity::Notice,
            Self::Behind | Self::Silent | Self::Damaged | Self::Unprotected => Severity::Problem,
        }
    }
}

/// One word and its reasons for a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusAnswer {
    /// The word.
    pub condition: Condition,
    /// How bad that is.
    pub severity: Severity,
    /// Why, the worst first; empty where all is well.
    pub reasons: Vec<String>,
    /// What is known.
    #[serde(flatten)]
    pub facts: ClusterFacts,
}

/// Clusters, worst first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusPage {
    /// The worst condition of all clusters, also of those that are not named here.
    pub worst: Severity,
    /// How many clusters there are.
    pub total: u64,
    /// How many of them have a problem.
    pub problems: u64,
    /// Those that were asked for.
    pub clusters: Vec<StatusAnswer>,
}

impl StatusPage {
    /// Clusters of which everything is at hand, in order.
    pub fn of(mut clusters: Vec<StatusAnswer>) -> Self {
        clusters
            .sort_by(|a, b| (b.condition, &a.facts.cluster).cmp(&(a.condition, &b.facts.cluster)));
        let severities = clusters.iter().map(|one| one.severity);
        Self {
            worst: severities.clone().max().unwrap_or(Severity::Ok),
            total: clusters.len() as u64,
            problems: severities
                .filter(|severity| *severity == Severity::Problem)
                .count() as u64,
            clusters,
        }
    }
}

fn span(ms: i64) -> String {
    let minutes = ms.max(0) / 60_000;
    match minutes {
        0..=119 => format!("{minutes} min"),
        120..=2879 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl ClusterFacts {
    /// Judges them at a time.
    pub fn judged(self, expected: &Expectations, now_ms: i64) -> StatusAnswer {
        let mut found: Vec<(Condition, String)> = Vec::new();
        let mut say = |condition, reason: String| found.push((condition, reason));
        if self.maximum.is_none() {
            let why = "nothing can be restored: there is no base yet";
            say(Condition::Unprotected, why.to_owned());
        }
        if let Some(error) = &self.error {
            say(
                Condition::Damaged,
                format!("it cannot be looked at: {error}"),
            );
        }
        if self.damaged > 0 {
            let count = self.damaged;
            say(
                Condition::Damaged,
                format!("{count} objects cannot be used"),
            );
        }
        if let Some(found) = &self.unsound {
            say(Condition::Damaged, found.clone());
        }
        match self.heartbeat_ms {
            None => say(Condition::Silent, "no agent has written a head".to_owned()),
            Some(last) if now_ms.saturating_sub(last) > ms(expected.silent_after) => {
                let since = span(now_ms.saturating_sub(last));
                say(
                    Condition::Silent,
                    format!("no agent says anything for {since}"),
                );
            }
            Some(_) => {}
        }
        if let (Some(source), Some(maximum), Some(heartbeat), Some(since)) = (
            self.source_revision,
            self.maximum,
            self.heartbeat_ms,
            self.behind_since_ms,
        ) {
            let waited = heartbeat.saturating_sub(since);
            if source > maximum && waited > ms(expected.behind_after) {
                say(
                    Condition::Behind,
                    format!(
                        "{} revisions of the source are not in the vault, the oldest for {}",
                        source.0 - maximum.0,
                        span(waited)
                    ),
                );
            }
        }
        if self.lost + self.missing > 0 {
            say(
                Condition::Gaps,
                format!("{} revisions were lost", self.lost + self.missing),
            );
        }
        if let Some(within) = expected.proven_within {
            match self.proven_ms {
                Some(last) if now_ms.saturating_sub(last) <= ms(within) => {}
                Some(last) => say(
                    Condition::Unproven,
                    format!(
                        "no restore was proven for {}",
                        span(now_ms.saturating_sub(last))
                    ),
                ),
                None => say(Condition::Unproven, "no restore was ever proven".to_owned()),
            }
        }
        found.sort_by_key(|(condition, _)| std::cmp::Reverse(*condition));
        let condition = found.first().map_or(Condition::Ok, |(worst, _)| *worst);
        StatusAnswer {
            condition,
            severity: condition.severity(),
            reasons: found.into_iter().map(|(_, reason)| reason).collect(),
            facts: self,
        }
    }
}

/// The same rules as [`ClusterFacts::judged`], for the database to sort by: it must not hand out all clusters of a fleet.
const RANK: &str = "CASE WHEN c.maximum IS NULL THEN 6 \
     WHEN c.error IS NOT NULL OR c.damaged > 0 OR c.unsound IS NOT NULL THEN 5 \
     WHEN h.heartbeat_ms IS NULL OR $1 - h.heartbeat_ms > $2 THEN 4 \
     WHEN h.source_revision > c.maximum AND h.heartbeat_ms - h.behind_ms > $3 THEN 3 \
     WHEN c.lost + c.missing > 0 THEN 2 \
     WHEN $4 >= 0 AND (c.proven_ms IS NULL OR $1 - c.proven_ms > $4) THEN 1 \
     ELSE 0 END";

impl Catalog {
    /// The clusters that are worst off, worst first: at most `limit` after the first `offset`, of those with a label only
    /// where one is given.
    ///
    /// # Errors
    /// `NotFound` for a label that no cluster has; as the database fails.
    pub async fn status(
        &self,
        expected: &Expectations,
        now_ms: i64,
        label: Option<&str>,
        (offset, limit): (u32, u32),
    ) -> Result<StatusPage, VaultError> {
        let mut tx = self.reading().await?;
        let within = expected.proven_within.map_or(-1, ms);
        let values: [Value<'_>; 5] = [
            now_ms.into(),
            ms(expected.silent_after).into(),
            ms(expected.behind_after).into(),
            within.into(),
            label.unwrap_or_default().into(),
        ];
        let labelled = if label.is_some() {
            "WHERE EXISTS (SELECT 1 FROM labels l WHERE l.cluster_id = c.id AND l.label = $5)"
        } else {
            "WHERE $5 = ''"
        };
        let from = format!("FROM clusters c LEFT JOIN heads h ON h.cluster_id = c.id {labelled}");
        let ranks = format!(
            "SELECT place, COUNT(*) FROM (SELECT CAST({RANK} AS BIGINT) AS place {from}) AS ranked GROUP BY place"
        );
        let mut page = StatusPage {
            worst: Severity::Ok,
            total: 0,
            problems: 0,
            clusters: Vec::new(),
        };
        for row in tx.all(sqlx::AssertSqlSafe(ranks), &values).await? {
            let condition = usize::try_from(row.int(0)?).unwrap_or_default();
            let condition = Condition::ALL.get(condition).copied();
            let severity = condition.unwrap_or(Condition::Unprotected).severity();
            let count = row.count(1)?;
            page.worst = page.worst.max(severity);
            page.total += count;
            if severity == Severity::Problem {
                page.problems += count;
            }
        }
        if let Some(label) = label
            && page.total == 0
        {
            return Err(VaultError::new(
                ErrorKind::NotFound,
                format!(
                    "no cluster of the catalog has the label {label:?}: labels come from the policy, by --policy of `revkeep catalog \
                     sync` and `revkeep-vault serve`"
                ),
            ));
        }
        let sql = format!(
            "SELECT {COLUMNS} {from} ORDER BY {RANK} DESC, c.name LIMIT {limit} OFFSET {offset}"
        );
        for row in tx.all(sqlx::AssertSqlSafe(sql), &values).await? {
            page.clusters.push(facts(&row)?.judged(expected, now_ms));
        }
        Ok(page)
    }

    /// One cluster.
    ///
    /// # Errors
    /// `NotFound` for one that the catalog does not know; as the database fails.
    pub async fn status_of(
        &self,
        scope: &super::Scope,
        expected: &Expectations,
        now_ms: i64,
    ) -> Result<StatusAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let id = scope.find_cluster(&mut tx).await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM clusters c LEFT JOIN heads h ON h.cluster_id = c.id WHERE c.id = $1"
        );
        let row = tx.one(sqlx::AssertSqlSafe(sql), &[id.into()]).await?;
        let facts = row
            .as_ref()
            .map_or_else(|| Ok(ClusterFacts::default()), facts)?;
        Ok(facts.judged(expected, now_ms))
    }
}

const COLUMNS: &str = "c.name, c.timeline, c.minimum, c.maximum, c.maximum_seen_ms, c.base_revision, c.base_stored_ms, c.lost, \
     c.thinned, c.missing, c.damaged, c.objects, c.bytes, h.heartbeat_ms, h.source_revision, c.proven_revision, c.proven_ms, \
     c.synced_ms, c.error, h.behind_ms, c.unsound";

fn facts(row: &Row) -> Result<ClusterFacts, VaultError> {
    let timeline = row
        .maybe_int(1)?
        .and_then(|number| u32::try_from(number).ok());
    Ok(ClusterFacts {
        cluster: row.text(0)?,
        timeline: timeline.map(|number| TimelineId(number).to_string()),
        minimum: row.maybe_int(2)?.map(Revision),
        maximum: row.maybe_int(3)?.map(Revision),
        maximum_seen_ms: row.maybe_int(4)?,
        base_revision: row.maybe_int(5)?.map(Revision),
        base_stored_ms: row.maybe_int(6)?,
        lost: row.count(7)?,
        thinned: row.count(8)?,
        missing: row.count(9)?,
        damaged: row.count(10)?,
        objects: row.count(11)?,
        bytes: row.count(12)?,
        heartbeat_ms: row.maybe_int(13)?,
        source_revision: row.maybe_int(14)?.map(Revision),
        proven_revision: row.maybe_int(15)?.map(Revision),
        proven_ms: row.maybe_int(16)?,
        synced_ms: row.maybe_int(17)?,
        error: row.maybe_text(18)?,
        behind_since_ms: row.maybe_int(19)?,
        unsound: row.maybe_text(20)?,
    })
}
