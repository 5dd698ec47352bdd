//! `revkeep catalog`: the index of a vault in SQL.

use std::time::Duration;

use chrono::{Local, Utc};
use clap::{Args, Subcommand};
use revkeep_schemas::Revision;
use revkeep_vault::catalog::query::{Cursor, KeyRange, Scope};
use revkeep_vault::catalog::{Catalog, CatalogUrl, SyncOptions, SyncReport};
use revkeep_vault::{TimelineId, Vault};
use serde::Serialize;

use super::shown::Shown;
use super::{Output, answer};
use crate::error::{Kind, RestoreError};
use crate::point::moment;
use crate::source::checked;

/// What `revkeep catalog` takes.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  revkeep catalog sync --vault s3://backups/etcd
  revkeep catalog query coverage prod --vault s3://backups/etcd
  revkeep catalog query revision-at prod '20m ago' --catalog postgres://revkeep@db/fleet -w json")]
pub(super) enum Command {
    /// Bring the catalog up to date: read what is new, drop what is gone
    Sync(FillArguments),
    /// Read all of the vault again
    Rebuild(FillArguments),
    /// Ask the catalog
    Query {
        #[command(subcommand)]
        query: Query,
    },
}

/// What filling a catalog takes.
#[derive(Debug, Args)]
pub(super) struct FillArguments {
    /// The clusters; all when none is named
    clusters: Vec<String>,
    /// Believe the head of a cluster whose names were listed within this time, and list only what it says is new; pins, deletions
    /// and receipts, of which heads say nothing, wait that long
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    relist: Duration,
    /// The policy file, for its labels
    #[arg(long, env = "REVKEEP_POLICY", value_name = "FILE")]
    policy: Option<std::path::PathBuf>,
}

/// A cluster and a timeline.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The cluster
    cluster: String,
    /// The timeline; by default the newest
    #[arg(long, value_name = "ID")]
    timeline: Option<String>,
}

impl Where {
    fn scope(&self) -> Result<Scope, RestoreError> {
        let timeline = self.timeline.as_deref().map(str::parse::<TimelineId>);
        let timeline = timeline
            .transpose()
            .map_err(|error| RestoreError::new(Kind::Invalid, error.to_string()))?;
        Ok(Scope {
            cluster: checked(&self.cluster)?,
            timeline,
        })
    }
}

/// The questions.
#[derive(Debug, Subcommand)]
pub(super) enum Query {
    /// What can be restored: minimum, maximum, and what is lost or was thinned out
    Coverage {
        #[command(flatten)]
        at: Where,
        /// As of a time: by what was stored then and is there still
        #[arg(long, value_name = "TIME")]
        as_of: Option<String>,
    },
    /// Whether a revision can be restored, and which ones next to it
    Point {
        #[command(flatten)]
        at: Where,
        /// The revision
        revision: i64,
    },
    /// The newest revision that agents had seen by a time
    RevisionAt {
        #[command(flatten)]
        at: Where,
        /// The time, such as '20m ago'
        time: String,
    },
    /// When a revision was seen
    TimeOf {
        #[command(flatten)]
        at: Where,
        /// The revision
        revision: i64,
    },
    /// How much is held, by kind, level and age
    Usage {
        /// The cluster; all when none is named
        cluster: Option<String>,
    },
    /// The clusters that hold most
    Largest {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Which segments may hold rows of a key
    Touching {
        #[command(flatten)]
        at: Where,
        /// The key
        key: String,
        /// All keys that begin with it
        #[arg(long)]
        prefix: bool,
        /// From this revision on
        #[arg(long, value_name = "REVISION", default_value_t = 1)]
        from: i64,
        /// Up to this revision
        #[arg(long, value_name = "REVISION", default_value_t = i64::MAX)]
        to: i64,
        /// How many segments at most
        #[arg(long, default_value_t = 1000)]
        limit: u32,
        /// Go on where the answer before says in `next`
        #[arg(long, value_name = "NEXT")]
        after: Option<Cursor>,
    },
    /// The timelines of a cluster
    Timelines(Where),
    /// The bases of a timeline
    Bases(Where),
    /// What agents recorded as lost
    Gaps(Where),
    /// HashKV as the source reported it
    Checkpoints(Where),
    /// The pins of a cluster
    Pins(Where),
    /// The rounds of retention of a cluster
    Retention(Where),
    /// What was verified and proven of a cluster
    Verifications(Where),
    /// Objects that are there and cannot be used
    Damaged {
        /// The cluster; all when none is named
        cluster: Option<String>,
    },
}

/// Where the catalog is: as was said, or the default for the vault.
pub(super) fn url(catalog: Option<&str>, vault: Option<&str>) -> Result<CatalogUrl, RestoreError> {
    match (catalog, vault) {
        (Some(catalog), _) => Ok(catalog.parse()?),
        (None, Some(vault)) => Ok(CatalogUrl::default_for(vault)?),
        (None, None) => Err(RestoreError::new(
            Kind::Invalid,
            "neither a catalog nor a vault is named. Try: --catalog sqlite:///path, or --vault file:///var/backups/etcd",
        )),
    }
}

pub(super) async fn run(
    vault: Option<&str>,
    catalog: Option<&str>,
    command: &Command,
    output: Output,
) -> Result<(), RestoreError> {
    let url = url(catalog, vault)?;
    match command {
        Command::Sync(arguments) => fill(vault, &url, arguments, false, output).await,
        Command::Rebuild(arguments) => fill(vault, &url, arguments, true, output).await,
        Command::Query { query } => {
            let catalog = Catalog::read_only(&url).await?;
            // It makes answers exact where they need more than the catalog has.
            let vault = match vault {
                Some(vault) if query.asks_vault() => Some(super::past_vault::vault(vault).await?),
                _ => None,
            };
            ask(&catalog, vault.as_ref(), query, output).await
        }
    }
}

async fn fill(
    vault: Option<&str>,
    url: &CatalogUrl,
    arguments: &FillArguments,
    anew: bool,
    output: Output,
) -> Result<(), RestoreError> {
    let Some(vault) = vault else {
        return Err(RestoreError::new(
            Kind::Invalid,
            "no vault is named. Try: --vault file:///var/backups/etcd, or set REVKEEP_VAULT",
        ));
    };
    let policy = match &arguments.policy {
        Some(file) => Some(revkeep_vault::retention::Policy::read(file)?),
        None => None,
    };
    let clusters = arguments.clusters.iter().map(|name| checked(name));
    let options = SyncOptions {
        relist: arguments.relist,
        clusters: clusters.collect::<Result<_, _>>()?,
        policy,
    };
    let vault = Vault::open(vault).await?;
    let catalog = Catalog::open(url).await?;
    let report = if anew {
        catalog.rebuild(&vault, &options, Utc::now()).await?
    } else {
        catalog.sync(&vault, &options, Utc::now()).await?
    };
    catalog.close().await;
    answer(&Shown(&report), output)?;
    finished(&report)
}

/// Some clusters could not be looked at: that is an error, though the others were.
fn finished(report: &SyncReport) -> Result<(), RestoreError> {
    let Some(kind) = report.failure else {
        return Ok(());
    };
    let named: Vec<_> = report
        .failed
        .iter()
        .map(|failure| failure.cluster.as_str())
        .collect();
    let message = format!(
        "these clusters could not be looked at: {}",
        named.join(", ")
    );
    Err(revkeep_vault::VaultError::new(kind, message).into())
}

impl Query {
    /// Whether a vault makes the answer better.
    const fn asks_vault(&self) -> bool {
        matches!(
            self,
            Self::RevisionAt { .. } | Self::TimeOf { .. } | Self::Touching { .. }
        )
    }
}

async fn ask(
    catalog: &Catalog,
    vault: Option<&Vault>,
    query: &Query,
    output: Output,
) -> Result<(), RestoreError> {
    let now = Utc::now().timestamp_millis();
    match query {
        Query::Coverage { at, as_of: None } => show(&catalog.coverage(&at.scope()?).await?, output),
        Query::Coverage {
            at,
            as_of: Some(time),
        } => {
            let time = moment(time, &Local::now())?;
            let answer = catalog.coverage_as_of(&at.scope()?, time.unix_ms).await?;
            show(&answer, output)
        }
        Query::Point { at, revision } => show(
            &catalog.point(&at.scope()?, Revision(*revision)).await?,
            output,
        ),
        Query::RevisionAt { at, time } => {
            let time = moment(time, &Local::now())?;
            let answer = catalog
                .revision_at(&at.scope()?, time.unix_ms, vault)
                .await?;
            show(&answer, output)
        }
        Query::TimeOf { at, revision } => {
            let answer = catalog
                .time_of(&at.scope()?, Revision(*revision), vault)
                .await?;
            show(&answer, output)
        }
        Query::Usage { cluster } => {
            let scope = one(cluster.as_deref())?;
            show(&catalog.usage(scope.as_ref(), now).await?, output)
        }
        Query::Largest { limit } => show(&catalog.largest(*limit).await?, output),
        Query::Touching {
            at,
            key,
            prefix,
            from,
            to,
            limit,
            after,
        } => {
            let wanted = KeyRange {
                key: key.as_bytes().to_vec(),
                prefix: *prefix,
                from: Revision(*from),
                to: Revision(*to),
                limit: *limit,
                after: after.clone(),
            };
            show(
                &catalog.touching(&at.scope()?, &wanted, vault).await?,
                output,
            )
        }
        Query::Timelines(at) => show(&catalog.timelines(&at.scope()?).await?, output),
        Query::Bases(at) => show(&catalog.bases(&at.scope()?).await?, output),
        Query::Gaps(at) => show(&catalog.gaps(&at.scope()?).await?, output),
        Query::Checkpoints(at) => show(&catalog.checkpoints(&at.scope()?).await?, output),
        Query::Pins(at) => show(&catalog.pins(&at.scope()?).await?, output),
        Query::Retention(at) => show(&catalog.retention_runs(&at.scope()?).await?, output),
        Query::Verifications(at) => show(&catalog.verifications(&at.scope()?).await?, output),
        Query::Damaged { cluster } => {
            let scope = one(cluster.as_deref())?;
            show(&catalog.damaged(scope.as_ref()).await?, output)
        }
    }
}

fn one(cluster: Option<&str>) -> Result<Option<Scope>, RestoreError> {
    let name = cluster.map(checked).transpose()?;
    Ok(name.map(Scope::newest))
}

fn show(result: &impl Serialize, output: Output) -> Result<(), RestoreError> {
    answer(&Shown(result), output)
}
