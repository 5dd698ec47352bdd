//! The vault: what its store honours, what the agent may do there, and whether what is in it belongs to this source.

use std::path::Path;

use chrono::{DateTime, Utc};
use revkeep_vault::{ErrorKind, Vault, VaultError, probe};

use super::{Report, Source, clock};
use crate::AgentError;
use crate::run::Route;
use crate::target::{Target, cluster_name};

/// What an agent needs of a bucket, for people.
const GRANT: &str = "grant s3:PutObject and s3:GetObject on the vault's prefix, and s3:ListBucket on the bucket for it";

/// Looks at the vault.
pub(super) async fn look(route: &Route, source: Option<&Source>, report: &mut Report) {
    let vault = match Vault::create(&route.vault).await {
        Ok(vault) => vault,
        Err(error) => {
            failed("vault", error, report);
            return;
        }
    };
    report.ok("vault", format!("{} is vault {}", route.vault, vault.id()));
    match probe(&vault).await {
        Ok(probed) => {
            for (what, honoured, otherwise) in probed.findings() {
                match what {
                    // Only retention deletes; an agent is better off without that right.
                    "remove" if honoured => report.ok(
                        "vault",
                        "it may delete there, which it never does and need not",
                    ),
                    "remove" => report.ok(
                        "vault",
                        "it may not delete there, as it should be; the probe's object stays",
                    ),
                    _ if honoured => report.ok("vault", format!("the store honours: {what}")),
                    "create if absent" => report.warn(
                        "vault",
                        format!("the store does not honour: {what}"),
                        otherwise,
                    ),
                    _ => report.fail(
                        "vault",
                        format!("the store does not honour: {what}"),
                        otherwise,
                    ),
                }
            }
            if let Some(ahead_ms) = probed.clock_ahead_ms {
                clock::judge(ahead_ms, report);
            }
        }
        Err(error) => {
            failed("vault", error, report);
            return;
        }
    }
    match Box::pin(lineage(route, &vault, source, report)).await {
        Ok(()) => {}
        Err(AgentError::Vault(error)) => failed("lineage", error, report),
        Err(error) => report.error("lineage", &error, "see what is in the vault: revkeep info"),
    }
}

fn failed(about: &'static str, error: VaultError, report: &mut Report) {
    let advice = match error.kind() {
        ErrorKind::Config => GRANT,
        ErrorKind::Retry => "see whether the store can be reached from here",
        _ => "see what is in the vault: revkeep info",
    };
    report.error(about, &error.into(), advice);
}

async fn lineage(
    route: &Route,
    vault: &Vault,
    source: Option<&Source>,
    report: &mut Report,
) -> Result<(), AgentError> {
    let name = cluster_name(&route.cluster)?;
    let cluster = vault.cluster(&name);
    let Some(timeline) = cluster.newest_timeline().await? else {
        report.ok("lineage", format!("nothing of {name} is in the vault yet"));
        return Ok(());
    };
    let newest = timeline.newest().await?;
    let target = Target { cluster, timeline };
    let id = target.timeline.id();
    let Some(source) = source else { return Ok(()) };
    if let Err(error) = crate::lineage::same_cluster(&target, &source.identity) {
        report.error(
            "lineage",
            &error,
            "give the endpoints of that cluster, or another --cluster",
        );
        return Ok(());
    }
    let (Some(newest), Some(current)) = (newest, source.current) else {
        report.ok(
            "lineage",
            format!("timeline {id} of {name} is this source's; it has no base yet"),
        );
        return Ok(());
    };
    if current < newest.cursor {
        report.warn(
            "lineage",
            format!("timeline {id} reaches to revision {}, and the source stands at {current}", newest.cursor),
            "if it was restored from a backup, expect a new timeline or a refusal at the start; else check --endpoints",
        );
        return Ok(());
    }
    let taken = DateTime::<Utc>::from_timestamp_millis(newest.base.facts.finished_unix_ms);
    let taken = taken.map_or_else(String::new, |taken| {
        format!(", its newest base of {}", taken.format("%Y-%m-%d %H:%M"))
    });
    let text = format!(
        "timeline {id} of {name} is this source's, durable up to {}{taken}",
        newest.cursor
    );
    match source.member.compacted_above(newest.cursor).await? {
        Some((_, compact)) if compact > newest.cursor.next() => report.warn(
            "lineage",
            format!("{text}; the source has compacted up to {compact} meanwhile"),
            "nothing can bring that back: the start records a gap and takes a base",
        ),
        _ => report.ok("lineage", text),
    }
    Ok(())
}

/// Whether a vault is a folder on this machine, and where.
pub(super) fn folder(url: &str) -> Option<&Path> {
    url.strip_prefix("file://").map(Path::new)
}
