//! `revkeep pin` and `revkeep unpin`.

use std::fmt;

use chrono::Utc;
use clap::Args;
use revkeep_vault::PinRecord;
use serde::Serialize;

use super::point::{PointArguments, pin_name};
use super::{Output, answer};
use crate::error::{Kind, RestoreError};
use crate::plan::{History, choose};
use crate::point::{Point, describe, duration, resolve, time};
use crate::source::open_cluster;

/// What `revkeep pin` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep pin before-upgrade prod --latest --reason 'upgrade to 1.34' --expires 30d
  revkeep pin audit-2026 prod --to-time '2026-06-30 23:59' --reason 'audit'
  revkeep restore prod --pin before-upgrade --data-dir /var/lib/etcd-restored")]
pub(super) struct PinArguments {
    /// The pin's name
    name: String,
    /// The cluster's name in the vault
    cluster: String,
    #[command(flatten)]
    point: PointArguments,
    /// Why it is kept
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// For how long it holds; by default until it is taken back
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
}

/// What `revkeep unpin` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep unpin before-upgrade prod")]
pub(super) struct UnpinArguments {
    /// The pin's name
    name: String,
    /// The cluster's name in the vault
    cluster: String,
}

#[derive(Serialize)]
struct Pinned {
    pin: String,
    cluster: String,
    timeline: String,
    #[serde(flatten)]
    point: Point,
    reason: String,
    expires: Option<String>,
}

#[derive(Serialize)]
struct Unpinned {
    pin: String,
    cluster: String,
    revision: Option<i64>,
}

/// Sets a pin.
pub(super) async fn pin(
    vault: &str,
    arguments: &PinArguments,
    output: Output,
) -> Result<(), RestoreError> {
    let name = pin_name(&arguments.name)?;
    let now = Utc::now();
    let expires = arguments.expires.as_deref().map(duration).transpose()?;
    let expires = expires.and_then(|after| i64::try_from(after.as_millis()).ok());
    let wanted = arguments.point.wanted()?;
    let cluster = open_cluster(vault, &arguments.cluster).await?;
    let found = resolve(&cluster, arguments.point.timeline.as_deref(), &wanted).await?;
    let target = found.source.resolve(found.target);
    // Only what can be restored can be kept.
    let plan = choose(&found.source.holdings(), target, History::AsSource)
        .map_err(|refusal| found.source.explain(refusal, target, History::AsSource))?;
    let record = PinRecord {
        timeline: found.source.timeline.id(),
        revision: plan.target,
        reason: arguments.reason.clone(),
        created_unix_ms: now.timestamp_millis(),
        expires_unix_ms: expires.map(|after| now.timestamp_millis().saturating_add(after)),
    };
    cluster.set_pin(&name, &record).await?;
    let pinned = Pinned {
        pin: name.to_string(),
        cluster: cluster.name().to_string(),
        timeline: record.timeline.to_string(),
        point: describe(&found.source, plan.target).await,
        reason: record.reason,
        expires: record.expires_unix_ms.and_then(time),
    };
    answer(&pinned, output)
}

/// Takes a pin back.
pub(super) async fn unpin(
    vault: &str,
    arguments: &UnpinArguments,
    output: Output,
) -> Result<(), RestoreError> {
    let name = pin_name(&arguments.name)?;
    let cluster = open_cluster(vault, &arguments.cluster).await?;
    // A damaged one can be taken back too.
    let revision = cluster
        .pin(&name)
        .await
        .ok()
        .flatten()
        .map(|pin| pin.revision.0);
    if !cluster.remove_pin(&name).await? {
        let others: Vec<_> = cluster
            .pin_names()
            .await?
            .iter()
            .map(ToString::to_string)
            .collect();
        let others = if others.is_empty() {
            "no other".to_owned()
        } else {
            others.join(", ")
        };
        return Err(RestoreError::new(
            Kind::NotFound,
            format!("the cluster has no pin {name}; it has {others}"),
        ));
    }
    let unpinned = Unpinned {
        pin: name.to_string(),
        cluster: cluster.name().to_string(),
        revision,
    };
    answer(&unpinned, output)
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "pinned            {} of {} (timeline {})",
            self.pin, self.cluster, self.timeline
        )?;
        write!(f, "{}", self.point)?;
        writeln!(
            f,
            "holds until       {}",
            self.expires.as_deref().unwrap_or("it is taken back")
        )
    }
}

impl fmt::Display for Unpinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.revision.map_or_else(String::new, |revision| {
            format!(", which held revision {revision}")
        });
        writeln!(f, "took back the pin {} of {}{at}", self.pin, self.cluster)
    }
}
