//! `revkeep diff`.

use std::fmt;

use clap::Args;
use revkeep_schemas::Revision;
use serde::Serialize;

use super::point::at;
use super::value::{Changed, What, encoded};
use super::{Output, answer, past_vault, signals};
use crate::error::{Kind, RestoreError};
use crate::past::{Change, Difference, Selection, Version, going_around, printable};
use crate::point::within;
use crate::report::size;
use crate::source::Source;

/// What `revkeep diff` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep diff --from 120900 --to latest --cluster prod
  revkeep diff --from '20m ago' --to latest --prefix /registry/pods/shop/ --cluster prod
  revkeep diff --from 120900 --to 120934 --exit-code -w json --cluster prod")]
pub(super) struct Arguments {
    /// The revision or time to start from
    #[arg(long, value_name = "REV|TIME")]
    from: String,
    /// The revision or time to compare with
    #[arg(long, value_name = "REV|TIME", default_value = "latest")]
    to: String,
    /// Keys that begin with this alone
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    cluster: past_vault::ClusterArguments,
    /// With the values, in JSON
    #[arg(long)]
    values: bool,
    /// End with code 14 when there are differences
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Report {
    cluster: String,
    timeline: String,
    from: Revision,
    to: Revision,
    created: usize,
    changed: usize,
    deleted: usize,
    changes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    /// `created`, `changed` or `deleted`.
    change: &'static str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_text: Option<String>,
    #[serde(skip)]
    shown_key: String,
    before: Option<Side>,
    after: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Changed>,
}

#[derive(Serialize)]
struct Side {
    mod_revision: Revision,
    create_revision: i64,
    version: i64,
    lease: i64,
    value_bytes: usize,
    what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Side {
    fn of(version: &Version, values: bool) -> Self {
        Self {
            mod_revision: version.at.main,
            create_revision: version.create_revision,
            version: version.version,
            lease: version.lease,
            value_bytes: version.value.len(),
            what: What::of(version),
            value: values.then(|| encoded(&version.value)),
        }
    }
}

impl Line {
    fn of(change: &Change, values: bool) -> Self {
        let side = |version: &Option<Version>| version.as_ref().map(|it| Side::of(it, values));
        let difference = match (&change.before, &change.after) {
            (Some(before), Some(after)) => Some(Changed::between(&before.value, &after.value)),
            _ => None,
        };
        Self {
            change: match (&change.before, &change.after) {
                (None, _) => "created",
                (Some(_), None) => "deleted",
                (Some(_), Some(_)) => "changed",
            },
            key: encoded(&change.key),
            key_text: String::from_utf8(change.key.clone()).ok(),
            shown_key: printable(&change.key),
            before: side(&change.before),
            after: side(&change.after),
            difference,
        }
    }
}

/// Compares two revisions.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    signals::unless_interrupted(compare(vault, arguments, output)).await
}

async fn compare(vault: &str, arguments: &Arguments, output: Output) -> Result<(), RestoreError> {
    let (from, to) = (at(&arguments.from)?, at(&arguments.to)?);
    let prefix = arguments.prefix.clone().unwrap_or_default();
    let selection = Selection::Prefix(prefix.into_bytes());
    let cluster = past_vault::open(vault, &arguments.cluster).await?;
    let source = Source::open(&cluster, arguments.cluster.timeline()).await?;
    let (from, to) = (within(&source, &from).await?, within(&source, &to).await?);
    let difference = going_around(&source, async |source| {
        Difference::of(source, from, to, &selection).await
    })
    .await?;
    let lines = difference.changes.iter();
    let changes: Vec<_> = lines
        .map(|change| Line::of(change, arguments.values))
        .collect();
    let count = |kind: &str| changes.iter().filter(|line| line.change == kind).count();
    let report = Report {
        cluster: cluster.name().to_string(),
        timeline: source.timeline.id().to_string(),
        from: difference.from,
        to: difference.to,
        created: count("created"),
        changed: count("changed"),
        deleted: count("deleted"),
        changes,
    };
    answer(&report, output)?;
    if arguments.exit_code && !report.changes.is_empty() {
        return Err(RestoreError::new(
            Kind::Different,
            format!("revisions {} and {} differ", report.from, report.to),
        ));
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.changes {
            let (sign, side) = match line.change {
                "created" => ('+', &line.after),
                "deleted" => ('-', &line.before),
                _ => ('~', &line.after),
            };
            write!(f, "{sign} {}", line.shown_key)?;
            if let Some(side) = side {
                write!(f, "  {}, {}", side.what, size(side.value_bytes as u64))?;
            }
            if let Some(difference) = &line.difference {
                write!(f, ": {difference}")?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "{} created, {} changed, {} deleted from revision {} to {} (timeline {})",
            self.created, self.changed, self.deleted, self.from, self.to, self.timeline
        )
    }
}
