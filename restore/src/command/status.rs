//! `revkeep status`: all clusters, the worst first, each with a word and its reasons.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use futures::{StreamExt as _, stream};
use revkeep_vault::catalog::Catalog;
use revkeep_vault::catalog::query::{
    ClusterFacts, Expectations, Scope, Severity, StatusAnswer, StatusPage,
};
use revkeep_vault::{ErrorKind, Vault, VaultError};
use serde::Serialize;

use super::{Output, answer, catalog};
use crate::error::{Kind, RestoreError};
use crate::source::checked;

/// Clusters that are looked at at once without a catalog.
const AT_ONCE: usize = 16;

/// What `revkeep status` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --catalog or REVKEEP_CATALOG the vault itself is asked, cluster by cluster.
The exit code is 17 when a cluster has a problem, and 0 when none has.

Examples:
  revkeep status --vault s3://backups/etcd
  revkeep status prod --vault s3://backups/etcd -w json | jq -r .clusters[0].condition
  revkeep status --catalog postgres://revkeep@db/fleet --label gold --limit 20"
)]
pub(super) struct Arguments {
    /// The cluster; all when none is named
    cluster: Option<String>,
    /// Only clusters with this label of the policy; needs a catalog
    #[arg(long)]
    label: Option<String>,
    /// How many at most, the worst first
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// An agent is expected to say something at least so often
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    silent_after: Duration,
    /// What the source has is expected in the vault within this time
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    behind_after: Duration,
    /// A proven restore is expected at least so often
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    proven_within: Option<Duration>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Status(StatusPage);

pub(super) async fn run(
    vault: Option<&str>,
    catalog: Option<&str>,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let expected = Expectations {
        silent_after: arguments.silent_after,
        behind_after: arguments.behind_after,
        proven_within: arguments.proven_within,
    };
    let now = Utc::now().timestamp_millis();
    let page = match (catalog, vault) {
        (Some(_), _) => {
            let url = catalog::url(catalog, vault)?;
            from_catalog(&Catalog::read_only(&url).await?, arguments, &expected, now).await?
        }
        (None, Some(vault)) => from_vault(vault, arguments, &expected, now).await?,
        (None, None) => {
            return Err(RestoreError::new(
                Kind::Invalid,
                "neither a vault nor a catalog is named. Try: --vault file:///var/backups/etcd, or set REVKEEP_VAULT",
            ));
        }
    };
    let worst = page.worst;
    answer(&Status(page), output)?;
    if worst == Severity::Problem {
        // The answer said it.
        return Err(RestoreError::new(
            Kind::Unhealthy,
            "a cluster has a problem",
        ));
    }
    Ok(())
}

async fn from_catalog(
    catalog: &Catalog,
    arguments: &Arguments,
    expected: &Expectations,
    now: i64,
) -> Result<StatusPage, RestoreError> {
    if let Some(name) = &arguments.cluster {
        let scope = Scope::newest(checked(name)?);
        let one = catalog.status_of(&scope, expected, now).await?;
        return Ok(StatusPage::of(vec![one]));
    }
    let label = arguments.label.as_deref();
    let page = catalog.status(expected, now, label, (0, arguments.limit));
    Ok(page.await?)
}

async fn from_vault(
    url: &str,
    arguments: &Arguments,
    expected: &Expectations,
    now: i64,
) -> Result<StatusPage, RestoreError> {
    if arguments.label.is_some() {
        return Err(RestoreError::new(
            Kind::Invalid,
            "labels are in a catalog alone. Try: --catalog with --label",
        ));
    }
    let vault = Vault::open(url).await?;
    let mut names = vault.clusters().await?;
    if let Some(name) = &arguments.cluster {
        let name = checked(name)?;
        if !names.contains(&name) {
            let message = format!("the vault has no cluster {name}");
            return Err(VaultError::new(ErrorKind::NotFound, message).into());
        }
        names = vec![name];
    }
    let looking = names.into_iter().map(|name| {
        let cluster = vault.cluster(&name);
        async move { ClusterFacts::of(&cluster).await }
    });
    let facts: Vec<ClusterFacts> = stream::iter(looking)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let judged = facts.into_iter().map(|facts| facts.judged(expected, now));
    let mut page = StatusPage::of(judged.collect());
    page.clusters
        .truncate(usize::try_from(arguments.limit).unwrap_or(usize::MAX));
    Ok(page)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = &self.0;
        if page.total == 0 {
            return writeln!(f, "there is no cluster yet");
        }
        for one in &page.clusters {
            line(f, one)?;
        }
        let left = page.total.saturating_sub(page.clusters.len() as u64);
        if left > 0 {
            writeln!(f, "… and {left} more: --limit shows them")?;
        }
        writeln!(
            f,
            "{} clusters, {} with a problem",
            page.total, page.problems
        )
    }
}

fn line(f: &mut fmt::Formatter<'_>, one: &StatusAnswer) -> fmt::Result {
    let facts = &one.facts;
    write!(f, "{:<24} {:<12}", facts.cluster, one.condition.word())?;
    match (facts.minimum, facts.maximum) {
        (Some(minimum), Some(maximum)) => write!(f, " {minimum} to {maximum}")?,
        _ => write!(f, " nothing to recover yet")?,
    }
    if let Some(seen) = time(facts.maximum_seen_ms) {
        write!(f, ", seen ≈ {seen}")?;
    }
    if let Some(base) = facts.base_revision {
        write!(f, "; base {base}")?;
    }
    match (facts.proven_revision, time(facts.proven_ms)) {
        (Some(revision), Some(when)) => write!(f, "; proven {revision} at {when}")?,
        _ => write!(f, "; never proven")?,
    }
    writeln!(f)?;
    for reason in &one.reasons {
        writeln!(f, "    {reason}")?;
    }
    if facts.thinned > 0 {
        writeln!(
            f,
            "    {} revisions were thinned out by retention",
            facts.thinned
        )?;
    }
    Ok(())
}

fn time(unix_ms: Option<i64>) -> Option<String> {
    let time = DateTime::from_timestamp_millis(unix_ms.filter(|ms| *ms > 0)?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
